# SPDX-License-Identifier: Apache-2.0
"""What the agent loop does when a prompt does not fit, and when an environment server dies or raises."""

import os
import re
import signal

import numpy as np
import pytest
from support.corridor_env import STEP
from support.scripted_policy import act, actions

from siri_verl.training.step_table import StepTable

CORRIDOR = {
    "siri__environment__name": "support.corridor_env:siri_verl_tests/Corridor-v0",
    "data__max_prompt_length": 4000,
}
LONG = {"task_id": "long"}


@pytest.fixture(scope="module")
def walk(play):
    """`play` in the corridor. One server, so what happens to it happens to all its episodes."""
    return lambda script, episodes=(LONG,), **overrides: play(script, episodes, **{**CORRIDOR, **overrides})


def fields(rows, name):
    return [row.extra_fields[name] for row in rows]


def table(episodes):
    keys = [f"u_{session}_{turn}" for session, rows in enumerate(episodes) for turn in range(len(rows))]
    return StepTable.build(keys, [{} for _ in keys], [row.extra_fields for rows in episodes for row in rows])


def told(request, name):
    """What the observation of a prompt (its last one) says about itself."""
    return re.findall(rf"{name} (\d+)", request["prompt"])[-1]


def test_history_is_dropped_first_oldest_pair_first_and_counted(walk):
    script = actions(*["walk"] * 4, "stop")
    (free,), _ = walk(script, siri__prompt__history_length=3)
    limit = len(free[4].prompt_ids) - 1
    (rows,), policy = walk(script, siri__prompt__history_length=3, data__max_prompt_length=limit)
    assert fields(rows, "history_dropped") == [0, 0, 0, 0, 1] and fields(free, "history_dropped") == [0] * 5
    assert all(len(row.prompt_ids) <= limit for row in rows)
    assert [row.prompt_ids for row in rows[:4]] == [row.prompt_ids for row in free[:4]]
    last = policy.requests[4]["prompt"]
    assert [t for t in range(1, 5) if f"[turn {t}]" in last] == [3, 4]
    # nothing is cut in the middle: the observation's four steps, and those of the pairs of turns 3 and 4
    assert last.count(STEP) == 4 + 2 + 3
    assert fields(rows, "status") == ["terminated"] * 5


def test_a_prompt_that_does_not_fit_without_history_ends_the_episode(walk):
    (free,), _ = walk(actions("walk", "walk", "stop"), siri__prompt__history_length=0)
    limit = len(free[1].prompt_ids)
    (rows,), policy = walk(actions("walk"), data__max_prompt_length=limit)
    assert len(rows) == len(policy.requests) == 2, "nothing is generated once the prompt does not fit"
    assert fields(rows, "status") == ["prompt_too_long"] * 2
    assert not any(fields(rows, "success")) and fields(rows, "turn_reward") == [0.0, 0.0]
    # the policy walked there itself, so the episode counts
    assert all(set(row.response_mask) == {1} for row in rows) and table([rows]).usable.all()


def test_sessions_of_a_training_task_meet_the_same_environment(walk):
    def seed(**given):
        _, policy = walk(actions("stop"), [{**LONG, **given}])
        return told(policy.requests[0], "seed")

    first = seed(session_id=0)
    assert seed(session_id=1) == seed(session_id=5, uid="other") == first
    assert seed(global_steps=6) != first and seed(task_id="longer") != first
    validation = seed(partition="val")
    # validation repeats the same episodes at every step, and its sessions are episodes of their own
    assert seed(partition="val", global_steps=99) == validation != first
    assert seed(partition="val", session_id=1) != validation


def test_a_killed_environment_server_ends_its_episodes_and_none_of_their_tokens_count(walk):
    def script(turn, prompt):
        if turn == 2:
            os.kill(int(told({"prompt": prompt}, "pid")), signal.SIGKILL)
        return act("walk")

    (rows,), policy = walk(script)
    assert len(rows) == len(policy.requests) == 2
    assert fields(rows, "status") == ["environment_lost"] * 2
    assert all(set(row.response_mask) == {0} and len(row.response_ids) > 1 for row in rows)
    assert not any(fields(rows, "success")) and [row.reward_score for row in rows] == [0.0] * 2
    assert rows[-1].extra_fields["reward_extra_info"]["status"] == "environment_lost"
    # the server is replaced: the next episode is whole
    (after,), again = walk(actions("walk", "stop"))
    assert fields(after, "status") == ["terminated"] * 2
    assert told(again.requests[0], "pid") != told(policy.requests[0], "pid")
    assert np.array_equal(table([rows, after]).usable, [False, False, True, True])


def test_an_environment_that_raises_ends_its_own_episode_alone(walk):
    def script(turn, prompt):
        return act("trip" if turn == 2 and "longer" in prompt else "walk" if turn < 4 else "stop")

    good, bad = walk(script, [LONG, {"task_id": "longer", "session_id": 1}])[0]
    assert fields(bad, "status") == ["environment_error"] * 2 and all(set(row.response_mask) == {0} for row in bad)
    assert fields(good, "status") == ["terminated"] * 4 and all(set(row.response_mask) == {1} for row in good)
    assert fields(good, "turn_reward") == [0.0, 0.0, 0.0, 10.0]
    assert table([good, bad]).usable.tolist() == [True] * 4 + [False] * 2
