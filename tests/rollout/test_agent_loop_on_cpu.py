# SPDX-License-Identifier: Apache-2.0
"""Episodes of the real agent loop against the toy environment in a real environment pool."""

import asyncio
import itertools
import time

import pytest
from support.scripted_policy import act, actions

from siri_verl.rollout import row_contract
from siri_verl.training.step_table import StepTable

TASK = "toy-coin-shelf-kitchen"
SOLVED = ("go kitchen", "take coin", "put shelf")


def fields(rows, name):
    return [row.extra_fields[name] for row in rows]


def test_one_row_per_turn_with_the_documented_fields(play, tokenizer):
    (rows,), policy = play(actions(*SOLVED))
    assert len(rows) == 3
    for row, request in zip(rows, policy.requests, strict=True):
        assert set(row.extra_fields) >= {*row_contract.REQUIRED, *row_contract.OPTIONAL}
        for name, default in row_contract.OPTIONAL.items():
            assert type(row.extra_fields[name]) is type(default), name
        assert tokenizer.decode(row.prompt_ids) == request["prompt"]
        assert len(row.response_ids) == len(row.response_mask) == len(row.response_logprobs)
        assert set(row.response_mask) == {1} and row.response_ids[-1] == tokenizer.eos_token_id
        assert row.num_turns == 3
        # what the policy server says about its weights travels with every row
        assert row.extra_fields["min_global_steps"] == row.extra_fields["max_global_steps"] == 4
    assert fields(rows, "anchor") == ["hall|-", "kitchen|-", "kitchen|coin"]
    assert fields(rows, "turn_reward") == [0.0, 0.0, 10.0]
    assert fields(rows, "status") == ["terminated"] * 3
    assert fields(rows, "success") == [True] * 3 and fields(rows, "score") == [1.0] * 3
    assert fields(rows, "task_id") == [TASK] * 3 and fields(rows, "category") == ["kitchen"] * 3
    # verl reads score and reward_extra_info of the last row
    assert [row.reward_score for row in rows] == [10.0] * 3
    info = rows[-1].extra_fields["reward_extra_info"]
    assert (info["success"], info["score"], info["turns"], info["valid_share"]) == (1.0, 1.0, 3.0, 1.0)


def test_rows_make_a_step_table_as_the_trainer_reads_them(play):
    (rows,), _ = play(actions(*SOLVED))
    keys = [f"u_0_{i}" for i in range(len(rows))]
    table = StepTable.build(keys, [{} for _ in rows], [row.extra_fields for row in rows])
    assert table.reward.tolist() == [0.0, 0.0, 10.0] and table.usable.all()


@pytest.mark.parametrize(
    ("script", "rewards", "score"),
    [
        (("go kitchen", "take coin", "put box"), [0.0, 0.0, 0.0], 0.5),
        (("go garden", "go hall", *SOLVED), [0.0, 0.0, 0.0, 0.0, 10.0], 1.0),
    ],
)
def test_success_reward_stands_at_the_turn_that_solves(play, script, rewards, score):
    (rows,), _ = play(actions(*script))
    assert fields(rows, "turn_reward") == rewards and fields(rows, "status") == ["terminated"] * len(rewards)
    assert rows[0].extra_fields["score"] == score and rows[0].extra_fields["success"] is (score == 1.0)


def test_score_reward_is_the_native_reward_scaled(play):
    (rows,), _ = play(actions("go kitchen", "take coin", "put box"), siri__reward__kind="score")
    assert fields(rows, "turn_reward") == [0.0, 0.0, 5.0]


@pytest.mark.parametrize("max_turns", [1, 4, 9])
def test_turn_limits_truncate_and_nothing_follows(play, max_turns):
    (rows,), policy = play(actions("go hall"), siri__rollout__max_turns=max_turns)
    assert len(rows) == len(policy.requests) == min(max_turns, 6)  # the environment's own limit is 6
    assert set(fields(rows, "status")) == {"truncated"} and not any(fields(rows, "success"))


def test_malformed_and_inadmissible_replies_cost_a_turn_each(play):
    script = ["go kitchen", act("go kitchen"), "<action>take coin</action>", act("take lamp"), act("take coin")]
    (rows,), policy = play(lambda turn, prompt: (script + [act("put shelf")])[turn - 1])
    assert fields(rows, "valid") == [False, True, False, True, True, True]
    # the empty action of a malformed reply does nothing, like an action that is not offered
    assert fields(rows, "admissible") == [False, True, False, False, True, True]
    assert fields(rows, "anchor") == ["hall|-", "hall|-", *["kitchen|-"] * 3, "kitchen|coin"]
    assert rows[-1].extra_fields["success"] and len(policy.requests) == 6


def test_prompts_show_the_task_the_turn_and_a_window_of_history(play):
    script = ("go garden", "go hall", *SOLVED)
    (rows,), policy = play(actions(*script), siri__prompt__history_length=2)
    for turn, request in enumerate(policy.requests, 1):
        prompt = request["prompt"]
        assert "Task: put the coin in the shelf" in prompt and f"Turn: {turn}\n" in prompt
        shown = [t for t in range(1, 6) if f"[turn {t}]" in prompt]
        assert shown == list(range(max(1, turn - 2), turn))
        assert all(f"-> {script[t - 1]}" in prompt for t in shown)
    assert "put shelf" in policy.requests[-1]["prompt"] and "put shelf" not in policy.requests[0]["prompt"]
    assert fields(rows, "history_dropped") == [0] * 5
    _, without = play(actions(*script), siri__prompt__history_length=0)
    assert not any("[turn" in request["prompt"] for request in without.requests)


def test_request_seeds_name_step_task_session_and_turn(play):
    other = "toy-lamp-box-attic"
    names = itertools.product([TASK, other], [0, 1], [5, 6], ["train", "val"])
    keys = ("task_id", "session_id", "global_steps", "partition")
    episodes = [{**dict(zip(keys, values, strict=True)), "uid": str(i)} for i, values in enumerate(names)]

    def seeds(**overrides):
        _, policy = play(actions("go hall"), episodes, siri__rollout__max_turns=3, **overrides)
        return {(r["request_id"], r["turn"]): r["params"].get("seed") for r in policy.requests}

    first = seeds(siri__rollout__request_seeds=True)
    assert len(first) == len(set(first.values())) == 16 * 3
    assert seeds(siri__rollout__request_seeds=True) == first
    assert not set(seeds(siri__rollout__request_seeds=True, siri__seed=2).values()) & set(first.values())
    assert set(seeds(siri__rollout__request_seeds=False).values()) == {None}


def test_a_callers_sampling_parameters_reach_every_request_unchanged(play):
    _, policy = play(actions(*SOLVED), siri__rollout__request_seeds=True)
    assert [r["params"]["temperature"] for r in policy.requests] == [1.0] * 3


def test_loops_of_one_process_overlap(play):
    async def slow(action):
        await asyncio.sleep(0.4)
        return act(action)

    def timed(count):
        began = time.monotonic()
        script = lambda turn, prompt: slow(SOLVED[turn - 1])  # noqa: E731
        episodes, _ = play(script, [{"session_id": i} for i in range(count)])
        assert all(len(rows) == 3 for rows in episodes)
        return time.monotonic() - began

    timed(1)  # starts the pool
    assert timed(12) < 4 * timed(1)


def test_a_second_pool_with_other_settings_is_refused_by_name(play):
    play(actions("go hall"))
    with pytest.raises(ValueError, match="other settings: step_timeout_s: asked 7.5, runs with 120.0"):
        play(actions("go hall"), siri__environment__step_timeout=7.5)
    play(actions("go hall"))


def test_a_task_the_environment_does_not_know_costs_its_own_episode_and_is_named(play, caplog):
    (unknown, known), _ = play(actions("go hall"), [{"task_id": "toy-no-such-task"}, {}])
    (row,) = unknown
    assert row.extra_fields["status"] == "not_started" and row.response_mask == [0]
    assert "toy-no-such-task" in row.extra_fields["reason"]
    assert "task toy-no-such-task: no turn could be played" in caplog.text
    assert all(turn.extra_fields["status"] != "not_started" for turn in known)
