# SPDX-License-Identifier: Apache-2.0
"""Rows of whole trajectories get the advantages that their turns get as rows, through verl's own function."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.protocol import DataProto
from verl.trainer.ppo.v1 import trainer_base

from siri_verl.rollout.row_contract import TurnCountError
from siri_verl.settings.read import gigpo_settings
from siri_verl.training.advantages import token_advantages
from siri_verl.training.estimator import rows_are_turns
from siri_verl.training.step_table import MissingAnchorsError, MissingOutcomeError, StepTable
from siri_verl.training.turn_table import build_turns, fetch_turns

ALGORITHM = OmegaConf.create({"gigpo": {"gamma": 0.9, "norm": "mean_std"}, "adv_estimator": "gigpo"})


def advantages(table, keys, mask):
    data = DataProto(
        batch=TensorDict({"token_level_rewards": torch.zeros(mask.shape), "response_mask": mask}, batch_size=len(keys)),
        non_tensor_batch={"uid": np.array([key.split("_")[0] for key in keys], dtype=object)},
    )
    with rows_are_turns(token_advantages(table, gigpo_settings(ALGORITHM), mask.shape[1])):
        return trainer_base.compute_advantage_for_multi_trajectories(
            data, batch_keys=keys, adv_estimator="gigpo", gamma=1.0, lam=1.0, num_repeat=2,
            norm_adv_by_std_in_grpo=True, config=ALGORITHM,
        ).batch["advantages"]  # fmt: skip


def padded(masks):
    width = max(map(len, masks))
    return torch.tensor([mask + [0] * (width - len(mask)) for mask in masks])


def lists(turns, **more):
    anchors, rewards, valids = ([turn[k] for turn in turns] for k in (1, 2, 3))
    return {"anchors": anchors, "turn_rewards": rewards, "valids": valids, **more}


def one_mask(turns):
    return [m for tokens, *_ in turns for m in [1] * tokens + [0, 0]]


TURN = st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.sampled_from([0.0, 1.0, 2.5]), st.booleans())
BATCH = st.dictionaries(
    st.tuples(st.sampled_from("uv"), st.integers(0, 11)), st.lists(TURN, min_size=1, max_size=4), min_size=2, max_size=7
)


@settings(max_examples=40, deadline=None)
@given(BATCH, st.integers(0, 10**6))
def test_equal_to_one_row_per_turn_on_every_token(batch, seed):
    sessions = sorted(batch, key=lambda name: (name[0], str(name[1])))
    turn_keys = [f"{uid}_{session}_{t}" for uid, session in sessions for t in range(len(batch[uid, session]))]
    turn_fields = [{"anchor": a, "turn_reward": r, "valid": v} for name in sessions for _, a, r, v in batch[name]]
    turn_masks = [[1] * tokens for name in sessions for tokens, *_ in batch[name]]
    as_rows = StepTable.build(turn_keys, [{}] * len(turn_keys), turn_fields)
    expected = dict(zip(turn_keys, advantages(as_rows, turn_keys, padded(turn_masks)), strict=True))

    # whole trajectories arrive in any order, with verl's padding rows among them
    random.Random(seed).shuffle(sessions)
    keys = [f"{uid}_{session}_0" for uid, session in sessions] + ["pad1_0_0"]
    tags = [{}] * len(sessions) + [{"is_padding": True}]
    fields = [lists(batch[name]) for name in sessions] + [lists(batch[sessions[0]])]
    masks = [one_mask(batch[name]) for name in sessions] + [[0]]
    table = build_turns(keys, tags, fields, masks)
    found = advantages(table, keys, padded(masks))
    assert not found[-1].any()
    for i, (uid, session) in enumerate(sessions):
        place = 0
        for t, (tokens, *_) in enumerate(batch[uid, session]):
            assert torch.equal(found[i, place : place + tokens], expected[f"{uid}_{session}_{t}"][:tokens])
            assert not found[i, place + tokens : place + tokens + 2].any()
            place += tokens + 2


TURNS = [(2, "start", 0.0, True), (1, "middle", 0.5, False), (3, "end", 1.0, True)]


def test_rows_that_are_turns_may_stand_beside_rows_of_trajectories():
    # a loop that starts a new context in the middle of an episode: two rows, the first of which holds two turns
    keys = ["u_0_0", "u_0_1"]
    fields = [lists(TURNS[:2]), {"anchor": "end", "turn_reward": 1.0, "valid": True}]
    table = build_turns(keys, [{}, {}], fields, [one_mask(TURNS[:2]), [1, 1, 1]])
    assert table.table.keys == ["u_0_0", "u_0_1", "u_0_2"]
    assert table.table.anchor == ["start", "middle", "end"]
    assert table.table.reward.tolist() == [0.0, 0.5, 1.0] and table.table.valid.tolist() == [True, False, True]
    assert table.segments.row.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": ["a", "b"]}, "row u_0_0: 'anchors' has 2 entries, but the response mask has 3 runs of ones"),
        ({"valids": [True] * 4}, "'valids' has 4 entries"),
        ({"turn_rewards": None}, "states 'anchors', but 'turn_rewards' is None; give a list"),
        ({"turn_rewards": "last"}, "'turn_rewards' is 'last'"),
    ],
)
def test_lists_that_do_not_fit_the_mask_are_named(change, message):
    with pytest.raises(TurnCountError, match=message):
        build_turns(["u_0_0"], [{}], [lists(TURNS) | change], [one_mask(TURNS)])


def test_rows_without_any_anchors_are_an_error_that_shows_both_ways():
    with pytest.raises(MissingAnchorsError) as error:
        build_turns(["u_0_0", "u_1_0"], [{}, {}], [lists(TURNS), {"tool_rewards": [1.0]}], [one_mask(TURNS), [1]])
    assert 'output.extra_fields["anchor"]' in str(error.value) and 'output.extra_fields["anchors"]' in str(error.value)


def test_the_outcome_is_the_last_turns_reward():
    fields = [lists(TURNS) | {"turn_rewards": "outcome"}, lists(TURNS) | {"turn_rewards": [0.25, "outcome", "outcome"]}]
    table = build_turns(["u_0_0", "u_1_0"], [{}, {}], fields, [one_mask(TURNS)] * 2, [2.0, 3.0])
    assert table.table.reward.tolist() == [0.0, 0.0, 2.0, 0.25, 0.0, 3.0]
    rows = [{"anchor": "a", "turn_reward": "outcome", "valid": True}] * 3
    keys = ["u_0_0", "u_0_2", "u_0_1"]  # verl gives every row of a trajectory the same score
    assert StepTable.build(keys, [{}] * 3, rows, [4.0] * 3).reward.tolist() == [0.0, 4.0, 0.0]
    with pytest.raises(MissingOutcomeError, match="u_0_0: turn_reward='outcome', but the batch has no scores"):
        StepTable.build(keys, [{}] * 3, rows)
    with pytest.raises(ValueError, match="turn_reward='win': give a number, or 'outcome'"):
        StepTable.build(["u_0_0"], [{}], [rows[0] | {"turn_reward": "win"}], [1.0])


def put(tq, key, fields, mask, score):
    from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    output = AgentLoopOutput(
        prompt_ids=[1, 2], response_ids=list(range(len(mask))), response_mask=mask, reward_score=score, num_turns=1,
        metrics=AgentLoopMetrics(), extra_fields=fields,
    )  # fmt: skip
    content = list_of_dict_to_tensordict([output.as_dict()])
    tq.kv_batch_put(keys=[key], partition_id="train", fields=content, tags=[{"status": "success"}])


def test_what_verls_worker_stored_is_read_back(transfer_queue):
    """Through TransferQueue, and with holes that rollout correction cut into the trainer's copy of the mask."""
    stored = {"m_0_0": (TURNS, 2.0), "m_1_0": (TURNS[:2], 0.0)}
    for key, (turns, score) in stored.items():
        put(transfer_queue, key, lists(turns) | {"turn_rewards": "outcome"}, one_mask(turns), score)
    keys, tags = list(stored), [{}, {}]
    table = fetch_turns(keys, tags)
    assert table.table.anchor == ["start", "middle", "end", "start", "middle"]
    assert table.table.reward.tolist() == [0.0, 0.0, 2.0, 0.0, 0.0]
    mask = padded([one_mask(turns) for turns, _ in stored.values()])
    whole = advantages(table, keys, mask)
    mask[0, 1] = 0
    corrected = advantages(fetch_turns(keys, tags), keys, mask)
    assert whole[0, 1] != 0 and corrected[0, 1] == 0
    whole[0, 1] = 0
    assert torch.equal(whole, corrected)


def test_without_anchors_verls_trainer_is_told_which_lines_to_add(transfer_queue):
    put(transfer_queue, "n_0_0", {"tool_rewards": [1.0]}, [1, 1], 1.0)
    data = DataProto(batch=TensorDict({"response_mask": torch.ones(1, 2)}, batch_size=1))
    with pytest.raises(MissingAnchorsError) as error:
        trainer_base.compute_advantage_for_multi_trajectories(data, batch_keys=["n_0_0"], adv_estimator="gigpo")
    for line in ('["anchor"] =', '["turn_reward"] =', '["valid"] =', '["anchors"] =', "adv_estimator=grpo"):
        assert line in str(error.value)
