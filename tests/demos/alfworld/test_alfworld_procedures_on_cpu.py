# SPDX-License-Identifier: Apache-2.0
"""The scripted procedures through the real environment, and what can be read of a trajectory."""

import random

import pytest

from siri_verl.demos.alfworld.demo import DEMO
from siri_verl.demos.alfworld.procedures import PROCEDURES, observed_procedure
from siri_verl.demos.alfworld.settings import MAX_TURNS, demo_env
from siri_verl.demos.alfworld.views import TaskView, read_situation, read_task
from siri_verl.demos.alfworld.wheel import goal
from siri_verl.demos.warm_start.rows import play
from siri_verl.envs.alfworld.tasks import CLEAN, COOL, HEAT, LOOK, SIMPLE, TASK_TYPES, TWO

RIGHT = {
    SIMPLE: {"carry", "rinse", "warm", "chill", "inspect", "pair"},
    LOOK: {"light"},
    CLEAN: {"rinse"},
    HEAT: {"warm"},
    COOL: {"chill"},
    TWO: {"pair"},
}


@pytest.fixture(scope="module")
def episodes(games):
    """Every procedure on every game: (task id, procedure) -> episode."""
    env, rng = demo_env(games), random.Random(0)
    yield {(task, name): play(DEMO, env, task, name, rng) for task in env.task_ids() for name in PROCEDURES}
    env.close()


def test_one_procedure_wins_each_task_type_and_the_others_do_not(episodes):
    for (task, name), played in episodes.items():
        episode = played.episode
        assert episode.success == (name in RIGHT[played.category]), (task, name, episode.history)


def test_the_task_type_is_read_from_the_sentence(episodes):
    for (task, _), played in episodes.items():
        assert task.split("/")[1].startswith(f"{played.category}-")
    for task_type in TASK_TYPES:
        for sentence in goal(task_type).sentences:
            assert DEMO.category_of(sentence.format(obj="mug", recep="shelf", toggle="desklamp")) == task_type
    assert DEMO.category_of("sing a song") is None


def test_a_procedure_takes_an_admissible_action_in_every_turn(episodes):
    for played in episodes.values():
        assert len(played.episode.turns) <= MAX_TURNS
        for view, turn in zip(played.views, played.episode.turns, strict=True):
            assert turn.action in view.admissible_actions


def test_observed_procedure_recognises_a_played_one(episodes):
    for (_, name), played in episodes.items():
        actions = [turn.action for turn in played.episode.turns]
        seen = observed_procedure(read_task(played.episode.task), actions)
        if name == "pair" and played.category in (SIMPLE, LOOK):
            assert seen in ("pair", "carry")  # over after the first object, or no second one was found
        else:
            assert seen == name, actions


def test_strays_do_not_derail_a_procedure(games):
    """With a tenth of the turns astray the right procedure still wins most games."""
    env, rng = demo_env(games), random.Random(1)
    won = []
    for task in env.task_ids():
        episode = play(DEMO, env, task, min(RIGHT[task.split("/")[1].split("-")[0]]), rng, stray=0.1).episode
        won.append(episode.success)
        assert all(turn.reply.startswith("<think> hold ") for turn in episode.turns)
    env.close()
    assert sum(won) / len(won) > 0.6


def test_tasks_and_turns_are_read_as_written():
    assert read_task("clean some mug and put it in shelf.") == TaskView("mug", "shelf")
    assert read_task("examine the egg with the desklamp.") == TaskView("egg", "sidetable")
    with pytest.raises(ValueError, match="names no place"):
        read_task("put a mug away")
    with pytest.raises(ValueError, match="names no object"):
        read_task("do it")
    admissible = ["examine egg 1", "examine fridge 1", "go to shelf 1", "look", "move egg 1 to fridge 1"]
    done = ["go to shelf 1", "take egg 2 from shelf 1", "move egg 2 to shelf 2", "go to fridge 1"]
    seen = read_situation("put two egg in shelf", admissible, done)
    assert (seen.here, seen.held, seen.ways, seen.closed) == ("fridge 1", "egg 1", ("shelf 1",), False)
    assert seen.visited == {"shelf 1", "fridge 1"} and seen.placed == {"egg 2"}


def test_unfinished_episodes_show_no_procedure():
    task = TaskView("egg", "shelf")
    for actions in ([], ["look"], ["go to shelf 1", "take egg 1 from shelf 1"], ["move mug 1 to shelf 1"]):
        assert observed_procedure(task, actions) is None
