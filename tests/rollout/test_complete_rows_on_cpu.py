# SPDX-License-Identifier: Apache-2.0
"""Rows of agent loops that are not siri_verl's own: cut into turns, filled in, or refused with the line to add."""

import pytest
from omegaconf import OmegaConf
from support.tiny_model import make_tokenizer
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from siri_verl.failures import ConfigError
from siri_verl.rollout.complete_rows import complete_rows, one_row_per_turn
from siri_verl.rollout.row_contract import RowContractError, TurnCountError
from siri_verl.rollout.session import SiriSession

TOKENIZER = make_tokenizer()
COLUMNS = {"uid": "u", "session_id": 2, "task_id": "t", "arm": "plain", "skill_id": ""}
SHOWN = COLUMNS | {"arm": "skill", "skill_id": "s1"}
STATED = {"anchor": "a", "turn_reward": 0.0, "valid": True}
ENDING = {"task": "do it", "transcript": [("o", "a")], "final_observation": "done", "explanation": "no lid"}


def output(reply="<action>go</action>", scored=None, **fields):
    ids = TOKENIZER.encode(reply)
    return AgentLoopOutput(
        prompt_ids=[9, 8], response_ids=ids, response_mask=[1] * len(ids), response_logprobs=[-0.5] * len(ids),
        reward_score=scored, num_turns=2, metrics=AgentLoopMetrics(), extra_fields=fields,
    )  # fmt: skip


def complete(outputs, columns=COLUMNS, success_reward=1.0):
    return complete_rows(outputs, columns, TOKENIZER, success_reward)


def test_what_a_loop_need_not_say_is_filled_in():
    first, last = complete([output(**STATED), output(**STATED | {"turn_reward": 1.0}, **ENDING)])
    for row in (first, last):
        fields = row.extra_fields
        assert (fields["task_id"], fields["arm"], fields["skill_id"], fields["success"]) == ("t", "plain", "", True)
        assert (fields["span_start"], fields["span_end"]) == (0, len(row.response_ids))
        assert fields["score"] == 1.0 and fields["plain_prompt_ids"] is None
    assert first.extra_fields["transcript"] is None and last.extra_fields["transcript"] == [("o", "a")]
    assert first.extra_fields["explanation"] is None and last.extra_fields["explanation"] == "no lid"
    shown = last.extra_fields["reward_extra_info"]
    assert shown == {"acc": 1.0, "success": 1.0, "score": 1.0, "turns": 2.0, "valid_share": 1.0}


def test_what_a_loop_says_stands():
    info = {"acc": 0.25, "mine": 3.0}
    (row,) = complete([output(**STATED, **ENDING, success=False, score=0.5, span_start=1, span_end=2,
                              reward_extra_info=info)])  # fmt: skip
    fields = row.extra_fields
    assert (fields["span_start"], fields["span_end"], fields["score"], fields["success"]) == (1, 2, 0.5, False)
    assert fields["reward_extra_info"] == {**fields["reward_extra_info"], **info, "success": 0.0, "score": 0.5}


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("so <action>go</action>.", "<action>go</action>"),
        ('so <tool_call>{"name": "go"}</tool_call>', '<tool_call>{"name": "go"}</tool_call>'),
        ("go", "go"),
    ],
)
def test_actions_are_found_by_their_tags_and_else_are_the_reply(reply, found):
    (row,) = complete([output(reply, **STATED, **ENDING)])
    start, end = row.extra_fields["span_start"], row.extra_fields["span_end"]
    assert TOKENIZER.decode(row.response_ids[start:end]) == found
    (row,) = complete([output(reply, **STATED | {"valid": False}, **ENDING)])
    assert (row.extra_fields["span_start"], row.extra_fields["span_end"]) == (0, 0)


def test_success_of_an_outcome_is_its_score():
    fields = STATED | {"turn_reward": "outcome"}
    for score, won in ((2.0, True), (1.5, False)):
        (row,) = complete([output(scored=score, **fields, **ENDING)], success_reward=2.0)
        assert row.extra_fields["success"] is won
    with pytest.raises(RowContractError, match='output.extra_fields."success". = task_was_solved'):
        complete([output(**fields, **ENDING)])


@pytest.mark.parametrize("field", ["task", "transcript"])
def test_what_mining_needs_is_asked_for(field):
    with pytest.raises(RowContractError, match=f"row u_2: its last row states no '{field}'; add\n.*{field}"):
        complete([output(**STATED, **{k: v for k, v in ENDING.items() if k != field})])


def test_anchors_and_plain_prompts_are_asked_for():
    with pytest.raises(RowContractError, match="state no 'valid' .first: u_2_0"):
        complete([output(anchor="a", turn_reward=0.0, **ENDING)])
    with pytest.raises(RowContractError, match="row u_2_0: shows skill s1 and states no 'plain_prompt_ids'"):
        complete([output(**STATED, **ENDING)], SHOWN)
    rows = complete([output(**STATED, plain_prompt_ids=[7]), output(**STATED, **ENDING, skill_missing=True)], SHOWN)
    assert [row.extra_fields["skill_missing"] for row in rows] == [True, True], "the whole episode's effect is spoiled"
    assert rows[0].extra_fields["plain_prompt_ids"] == [7]


def trajectory(**changes):
    fields = {"anchors": ["a", "b"], "turn_rewards": [0.0, 1.0], "valids": [True, True], "plain_prompt_ids": [5, 6, 7]}
    whole = AgentLoopOutput(
        prompt_ids=[1, 2], response_ids=[10, 11, 12, 13, 14, 15], response_mask=[1, 1, 0, 0, 1, 0],
        response_logprobs=[-1.0, -2.0, 0.0, 0.0, -3.0, 0.0], num_turns=4, metrics=AgentLoopMetrics(),
        extra_fields={**fields, **ENDING, **changes},
    )  # fmt: skip
    return whole


def test_a_trajectory_is_cut_where_its_mask_changes():
    first, second = complete([trajectory(action_spans=[(0, 1), (0, 1)])], SHOWN)
    assert (first.prompt_ids, first.response_ids, first.response_logprobs) == ([1, 2], [10, 11], [-1.0, -2.0])
    assert (second.prompt_ids, second.response_ids) == ([1, 2, 10, 11, 12, 13], [14])
    assert second.response_logprobs == [-3.0] and second.response_mask == [1]
    assert first.extra_fields["plain_prompt_ids"] == [5, 6, 7]
    assert second.extra_fields["plain_prompt_ids"] == [5, 6, 7, 10, 11, 12, 13]
    assert [row.extra_fields["anchor"] for row in (first, second)] == ["a", "b"]
    assert (second.extra_fields["span_start"], second.extra_fields["span_end"]) == (0, 1)
    assert second.extra_fields["success"] is True and "anchors" not in second.extra_fields


def test_an_episode_that_lost_its_environment_trains_nothing():
    lost, fine = trajectory(status="environment_lost"), trajectory(status="terminated")
    assert [row.response_mask for row in complete([lost], SHOWN)] == [[0, 0], [0]]
    assert [row.response_mask for row in complete([fine], SHOWN)] == [[1, 1], [1]]


def test_a_trajectory_that_cannot_be_cut_is_refused():
    with pytest.raises(TurnCountError, match="'valids' has 1 entries, but the response mask has 2 runs"):
        one_row_per_turn(trajectory(valids=[True]))
    with pytest.raises(RowContractError, match="action_spans has 3 entries for 2 turns"):
        one_row_per_turn(trajectory(action_spans=[(0, 1)] * 3))
    pictures = trajectory().model_copy(update={"multi_modal_data": {"images": ["a picture"]}})
    with pytest.raises(RowContractError, match="return one row per turn"):
        one_row_per_turn(pictures)


# ---- sessions --------------------------------------------------------------------------------------------------------

CONFIG = OmegaConf.create({"siri": {"seed": 7}})


def session(**columns):
    return SiriSession.from_run(CONFIG, {"task_id": "t", "global_steps": 3, "session_id": 1, **columns})


def test_a_session_of_verls_own_worker_is_plain():
    plain = SiriSession.from_run(OmegaConf.create({}), {"index": 4, "global_steps": 3})
    assert plain.task_id == "4"
    assert plain.skill_text is None
    assert plain.arm == "plain"
    assert not plain.validate
    messages = [{"role": "user", "content": "q"}]
    assert plain.messages(messages) == messages and plain.messages(messages) is not messages


def test_the_skill_stands_before_the_first_user_message_alone():
    shown = session(arm="skill", skill_id="s1", skill_text="When x: y")
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "q"}, {"role": "user", "content": "r"}]
    found = shown.messages(messages, label="Tip")
    assert [m["content"] for m in found] == ["be", "Tip: When x: y\n\nq", "r"]
    assert messages[1]["content"] == "q", "the plain messages stay as they are"
    parts = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]}]
    assert shown.messages(parts, "Tip")[0]["content"][0] == {"type": "text", "text": "Tip: When x: y\n\n"}
    with pytest.raises(ValueError, match="task 't': no user message to show skill s1 in"):
        shown.messages(messages[:1])


def test_sessions_of_a_task_meet_one_world_and_ask_with_seeds_of_their_own():
    one, other = session(), session(session_id=2, arm="skill", skill_id="s", skill_text="x")
    assert one.env_seed == other.env_seed != session(global_steps=4).env_seed
    assert session(partition="val").env_seed not in (one.env_seed, session(partition="val", session_id=2).env_seed)
    seeds = {s.request_seed(turn) for s in (one, other, session(partition="val")) for turn in range(3)}
    assert len(seeds) == 9


def test_verls_own_modes_do_not_pass_for_siri():
    from support.scripted_policy import settings

    from siri_verl.rollout.worker import check_trainer_mode

    check_trainer_mode(settings())
    check_trainer_mode(settings(trainer__v1__trainer_mode="sync", siri__phases__fixed="warm_up"))
    with pytest.raises(ConfigError, match="trainer_mode='colocate_async': .*siri.phases.fixed=warm_up"):
        check_trainer_mode(settings(trainer__v1__trainer_mode="colocate_async"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("valid", "False"), ("success", "no"), ("turn_reward", "1"), ("turn_reward", float("nan")), ("score", "high")],
)
def test_values_of_another_type_are_refused_by_name(field, value):
    with pytest.raises(RowContractError) as error:
        complete([output(**STATED), output(**STATED | ENDING | {field: value})])
    assert f"row u_2_1: {field}={value!r}: give " in str(error.value)
