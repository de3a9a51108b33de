# SPDX-License-Identifier: Apache-2.0
"""ALFWorld through the environment interface."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from support.planner_libraries import unload_all

from siri_verl.envs.alfworld import speed
from siri_verl.envs.alfworld.env import ALFWorldEnv
from siri_verl.envs.alfworld.tasks import OPENING, TASK_RULE, TASK_TYPES
from siri_verl.envs.base import EpisodeOverError, UnknownSplitError, UnknownTaskError
from siri_verl.envs.checker import check_text_env
from siri_verl.envs.panels import check_disjoint, make_panel
from siri_verl.envs.registry import make_environment
from siri_verl.skills.task_type import TaskTypeSettings, task_typer
from siri_verl.trajectory.prompts import TEMPLATES, render_prompt
from siri_verl.trajectory.turn import TurnView


@pytest.fixture(autouse=True)
def leave_textworld_as_it_was():
    before = speed._users
    yield
    while speed._users > before:
        speed.Layer().__exit__()


@pytest.fixture
def make(small_games):
    made = []

    def make(**settings):
        made.append(make_environment("alfworld", **{"data": str(small_games), **settings}).unwrapped)
        return made[-1]

    yield make
    for env in made:
        env.close()


def solution(env, task_id):
    return json.loads(env._folder.game(task_id).path.read_text())["walkthrough"]


def test_the_checker_finds_nothing_wrong(make):
    report = check_text_env(make(), episodes=4, max_turns=15)
    assert report.tasks == 24 and report.episodes == 4
    assert all("anchor" in doubt for doubt in report.warnings), report.warnings


def test_the_solution_wins_in_all_task_types_and_ends_the_episode(make):
    env = make(split="valid_seen")
    types = set()
    for task_id in env.task_ids():
        observation, info = env.reset(seed=0, options={"task_id": task_id})
        assert info["task"] in observation and info["task_id"] == task_id
        *way, last = solution(env, task_id)
        for command in way:
            assert command in info["admissible_actions"]
            observation, reward, terminated, truncated, info = env.step(command)
            assert (reward, terminated, truncated, info["success"], info["score"]) == (0, False, False, False, 0)
        observation, reward, terminated, truncated, info = env.step(last)
        assert (reward, terminated, truncated, info["success"], info["score"]) == (1, True, False, True, 1)
        types.add(info["category"])
        with pytest.raises(EpisodeOverError):
            env.step("look")
    assert types == set(TASK_TYPES)


def test_the_task_type_is_told_by_the_sentence_that_the_prompt_shows(make):
    typer, env = task_typer(TaskTypeSettings(kind="alfworld")), make()
    for name in env.task_ids():
        _, info = env.reset(options={"task_id": name})
        assert typer(info["task"]) == info["category"] and info["task"].endswith("."), f"{name}: {info['task']}"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "sentence", ['put a "red" mug on it.', "put a mug|cup on it.", "put [the] mug.", "a mug; a cup."]
)
def test_the_task_is_what_the_game_states_and_not_what_its_grammar_has(small_games, tmp_path, fast, sentence):
    folder = tmp_path / "valid_seen"
    shutil.copytree(next((small_games / "json_2.1.1" / "valid_seen").iterdir()), folder / "a")
    (path,) = folder.rglob("game.tw-pddl")
    game = json.loads(path.read_text())
    stated = json.dumps(f"{OPENING} {sentence}")
    game["grammar"] = TASK_RULE.sub(lambda found: found[1] + stated, game["grammar"])
    path.write_text(json.dumps(game))
    env = ALFWorldEnv(str(tmp_path), fast=fast)
    observation, info = env.reset()
    env.close()
    assert info["task"] and observation.endswith(f"{OPENING} {info['task']}")
    assert info["task"] != sentence  # textworld reads these as syntax


def test_the_packages_own_goal_sentences_name_their_types():
    import alfworld.gen.goal_library as library

    typer = task_typer(TaskTypeSettings(kind="alfworld"))
    for task_type in TASK_TYPES:
        for template in library.gdict[task_type]["templates"]:
            for thing, place in (("egg", "microwave"), ("mug", "fridge"), ("soapbar", "sinkbasin"), ("book", "desk")):
                text = template.format(obj=thing, recep=place, toggle="floorlamp", mrecep="")
                assert typer(text) == task_type, text


def test_prompts_speak_of_rooms_and_not_of_a_shop(make):
    env = make()
    observation, info = env.reset(options={"task_id": env.task_ids()[0]})
    for name in ("full", "compact_actions"):
        template = TEMPLATES[name]
        first = TurnView(
            task=info["task"], observation=observation, admissible_actions=tuple(info["admissible_actions"])
        )
        later = replace(first, turn=2, observation="Nothing happens.", history=((observation, "dance"),))
        later = replace(later, skill_text="do so")
        for view in (first, later):
            prompt = render_prompt(view, template)
            assert info["task"] in prompt and all(action in prompt for action in info["admissible_actions"])
            assert not re.search(r"\b(?:pages?|products?|shop\w*|buy|search\w*|click\w*)\b", prompt, re.IGNORECASE)
        assert observation in render_prompt(first, template), "the whole intro is the first observation"


def test_wrong_commands_and_help_do_nothing(make):
    env = make()
    _, start = env.reset(seed=0, options={"task_id": env.task_ids()[0]})
    assert "help" not in start["admissible_actions"] and "look" in start["admissible_actions"]
    for action in ("help", "", "dance", "go to nowhere 1", "GO TO"):
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation == "Nothing happens."
        assert not info["action_admissible"]
        assert reward == 0
        assert info["admissible_actions"] == start["admissible_actions"]
    assert env.step(" inventory ")[0] == "You are not carrying anything."


def test_turns_run_out(make):
    env = make(max_turns=3)
    env.reset(seed=0, options={"task_id": env.task_ids()[0]})
    ends = [env.step("look")[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(EpisodeOverError):
        env.step("look")


def test_the_anchor_tells_place_and_load(make):
    state, text = make(), make(anchor="observation")
    task_id = next(t for t in state.task_ids() if "pick_and_place" in t)
    way = solution(state, task_id)
    _, info = state.reset(options={"task_id": task_id})
    assert info["anchor"].startswith("at the middle of the room; holding nothing\n-= Welcome")
    _, info = text.reset(options={"task_id": task_id})
    assert info["anchor"].startswith("-= Welcome")
    take = next(number for number, command in enumerate(way) if command.startswith("take "))
    thing, place = way[take].removeprefix("take ").split(" from ")
    for command in way[: take + 1]:
        state.step(command)
        text.step(command)
    assert state.step("dance")[4]["anchor"] == f"at {place}; holding {thing}\nNothing happens."
    assert text.step("dance")[4]["anchor"] == "Nothing happens."


def test_panels_hold_every_game_of_a_split_once_and_rooms_do_not_mix(small_games):
    panels = {s: make_panel("alfworld", {"data": str(small_games)}, s) for s in ("train", "valid_seen", "valid_unseen")}
    for split, panel in panels.items():
        files = {
            p.parent.relative_to(small_games / "json_2.1.1") for p in small_games.rglob(f"{split}/*/*/game.tw-pddl")
        }
        assert sorted(panel.task_ids) == sorted(map(str, files)) and len(files) in (6, 12)
    check_disjoint(panels["train"], panels["valid_seen"])
    check_disjoint(panels["train"], panels["valid_unseen"])
    rooms = {
        split: {task.split("/")[1].rsplit("-", 1)[1] for task in panel.task_ids} for split, panel in panels.items()
    }
    assert not rooms["valid_unseen"] & (rooms["train"] | rooms["valid_seen"])


def test_a_split_restricts_the_tasks(make):
    env = make(split="valid_unseen")
    assert all(task.startswith("valid_unseen/") for task in env.task_ids())
    with pytest.raises(UnknownTaskError, match="is not of split 'valid_unseen'"):
        env.reset(options={"task_id": make(split="train").task_ids()[0]})


def test_environments_of_one_process_share_nothing_but_knowledge(make):
    first, second = make(), make()
    task_id = first.task_ids()[3]
    one, two = (env.reset(options={"task_id": task_id}) for env in (first, second))
    assert one == two
    go = next(c for c in one[1]["admissible_actions"] if c.startswith("go to"))
    first.step(go)
    assert second.step("look")[0].startswith("You are in the middle of a room.")


def test_environments_of_one_game_share_one_library(make):
    from siri_verl.envs.alfworld import planner

    unload_all()
    envs = [make() for _ in range(3)]
    for env in envs:
        env.reset(options={"task_id": envs[0].task_ids()[2]})
    assert len(planner._loaded) == 1
    envs[0].close()
    envs[0].close()
    assert envs[1].step("inventory")[0] == "You are not carrying anything."
    envs[0].reset(options={"task_id": envs[0].task_ids()[0]})  # closed, not broken


@pytest.mark.parametrize(
    "settings, error, message",
    [
        (dict(split="test"), UnknownSplitError, "split: 'test' is unknown; .* has train, valid_seen, valid_unseen"),
        (dict(anchor="place"), ValueError, "anchor: got 'place'; known are state, observation"),
        (dict(max_turns=1), ValueError, "max_turns: got 1; it must be an integer of at least 2"),
        (dict(data=None), ValueError, "setting 'data' is missing; pass the folder that `siri-verl data alfworld"),
    ],
)
def test_wrong_settings_are_named(make, settings, error, message):
    with pytest.raises(error, match=message):
        make(**settings)
