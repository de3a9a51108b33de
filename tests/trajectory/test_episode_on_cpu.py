# SPDX-License-Identifier: Apache-2.0
"""An episode without I/O: turns, endings and the record, driven by hand; the seeds of episodes and requests."""

import pytest

from siri_verl.core.seeding import derive_seed
from siri_verl.envs.toy import ToyEnv
from siri_verl.trajectory import seeds
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.turn import Reply, Status, Turn

TASK = "toy-coin-shelf-kitchen"


def start(max_turns=None, **plan):
    env, plan = ToyEnv(), EpisodePlan(TASK, 5, ("x", TASK), **plan)
    return env, Episode(plan, *env.reset(seed=5, options={"task_id": TASK}), max_turns)


def act(env, episode, action, **reply):
    taken = episode.reply(Reply(f"<think>so</think><action>{action}</action>", **reply))
    episode.observe(*env.step(taken))
    return taken


def test_views_hold_the_history_and_the_end_is_recorded():
    env, episode = start(skill_text="read the note", skill_id="s0001")
    first = episode.view()
    assert (first.turn, first.history, first.skill_text) == (1, (), "read the note")
    for action in ("go kitchen", "take coin"):
        assert act(env, episode, action) == action and not episode.over
    view = episode.view()
    assert view.turn == 3 and [done for _, done in view.history] == ["go kitchen", "take coin"]
    assert view.history[0][0] == first.observation and view.recent(1).history == view.history[1:]
    assert view.recent(0).history == () and view.plain.skill_text is None
    act(env, episode, "put shelf", prompt_tokens=9, reply_tokens=4, skill_missing=True, history_dropped=1)
    record = episode.trajectory("evaluation", session=2)
    assert (episode.status, record.status, record.success, record.score) == (Status.TERMINATED, "terminated", True, 1.0)
    assert (record.arm, record.skill_id, record.skill_missing, record.env_seed) == ("skill", "s0001", True, 5)
    assert record.key == ("evaluation", None, TASK, "skill", 2, 1) and record.history == episode.history
    last = record.turns[-1]
    assert (last.prompt_tokens, last.reply_tokens, last.history_dropped) == (9, 4, 1)
    assert last.admissible and last.reward == 1.0


def test_a_malformed_reply_is_a_turn_with_its_problem():
    env, episode = start()
    episode.observe(*env.step(episode.reply(Reply("go kitchen"))))
    assert episode.turns == [
        Turn(episode.turns[0].observation, "go kitchen", "", 0.0, False, "no_action_tags", admissible=False)
    ]


def test_an_action_may_be_played_in_place_of_the_reply_s():
    env, episode = start()
    reply = Reply("<think>so</think><action>go attic</action>")
    assert episode.reply(reply, action="go kitchen") == "go kitchen"
    episode.observe(*env.step("go kitchen"))
    assert episode.history[0][1] == "go kitchen" and "go attic" in episode.turns[0].reply


def test_the_turn_limit_and_a_prompt_that_does_not_fit_end_it():
    env, episode = start(max_turns=2)
    act(env, episode, "go hall")
    act(env, episode, "go hall")
    assert episode.status is Status.TRUNCATED
    env, episode = start()
    act(env, episode, "go hall")
    episode.prompt_too_long(ValueError("too long"))
    assert episode.status is Status.PROMPT_TOO_LONG and not episode.success
    _, episode = start()
    episode.prompt_too_long(ValueError("too long"))
    assert episode.status is Status.NOT_STARTED and episode.reason == "too long"


def test_an_environment_that_failed_ends_it_and_it_does_not_count():
    env, episode = start()
    observation, _, _, _, info = env.step(episode.reply(Reply("")))
    episode.observe(observation, 0.0, False, True, info, "environment_lost")
    assert episode.status is Status.ENVIRONMENT_LOST
    counted = [status for status in Status if Status.counts(status)]
    assert counted == [Status.TERMINATED, Status.TRUNCATED, Status.PROMPT_TOO_LONG]
    assert Status.counts("won") and not Status.counts("environment_error")
    with pytest.raises(RuntimeError, match="call reply"):
        episode.observe(observation, 0.0, False, True, info)


def test_seeds_are_named_by_what_they_are_for():
    assert seeds.env_seed(1, 5, "t") == derive_seed(1, "env", 5, "t")
    assert seeds.validation_env_seed(1, "t", 2) == derive_seed(1, "env", "val", "t", 2)
    assert seeds.evaluation_env_seed(1, "t", 2) == derive_seed(1, "eval", "env", "t", 2)
    assert seeds.request_seed(1, ("train", 5, "t", "plain", 0), 3) == derive_seed(
        1, "request", "train", 5, "t", "plain", 0, 3
    )
