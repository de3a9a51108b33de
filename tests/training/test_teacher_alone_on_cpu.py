# SPDX-License-Identifier: Apache-2.0
"""Methods whose skills are the teacher's alone: all sessions are plain, and every turn of a group with a skill has a
teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support.driver import Step, prepare

from siri_verl.runs.config import flat_settings

CONF = Path(__file__).parents[2] / "siri_verl" / "conf" / "siri"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("alone")
    prepare(made)
    return made


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("opid", "sdpo")]


@pytest.fixture(scope="module", params=["sdar", *SLOW])
def step(request, transfer_queue, folder):
    block = flat_settings(OmegaConf.to_container(OmegaConf.load(CONF / f"{request.param}.yaml").siri))
    words = [f"siri.{name}={'null' if value is None else value}" for name, value in block.items()]
    return Step(transfer_queue, folder, *words)


def with_a_teacher(step):
    """Keys of well-formed turns of groups with a skill; there is none for books."""
    return {k for k, row in step.rows.items() if row["fields"]["valid"] and "book" not in row["fields"]["task_id"]}


def sent(step, column):
    """Key -> the column as its worker gets it."""
    (keys,), (data,) = step.workers.keys, step.workers.sent
    return dict(zip(keys, data[column].unbind(), strict=True)) if column in data.keys() else {}


def test_every_turn_of_a_group_with_a_skill_is_scored_and_no_session_sees_it(step):
    assert {row["fields"]["arm"] for row in step.rows.values()} == {"plain"}
    table, scored = step.now.table, step.now.teacher.scored
    assert {table.keys[i] for i in scored.rows} == with_a_teacher(step)
    assert not any(effect.defined for effect in step.now.effects.values()), "nothing is tested"


def test_the_update_is_the_methods(step):
    s, weights, advantages = (
        step.settings.internalization,
        sent(step, "internalization_weight"),
        sent(step, "advantages"),
    )
    learned = {key for key, row in weights.items() if row.any()}
    if step.settings.method == "opid":
        assert not learned and step.metrics["siri/internalization/advantage_change_abs"] > 0
        spread = [float(row.max() - row.min()) for key, row in advantages.items() if key in with_a_teacher(step)]
        assert np.mean(spread) > 0, "within a turn the advantage follows the teacher"
    else:
        assert learned == with_a_teacher(step)
        for key in learned:
            assert torch.all(weights[key] > 0), "the whole reply"
    if step.settings.method == "sdpo":
        assert not any(row.any() for row in advantages.values()), "in place of the policy gradient"
    assert step.workers.extra_info["internalization_lambda"] == s.lambda_max
