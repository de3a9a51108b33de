# SPDX-License-Identifier: Apache-2.0
"""Three iterations of the real trainer with the group of each published method, on the toy game."""

import numpy as np
import pytest
from support.configs import TOY, train_toy
from support.method_family import FAMILY
from support.toy_run import player_settings, write_active_bank, write_inputs

from siri_verl.runs.metrics import read_metrics

STEPS = 3
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The model and panels, and a bank with a good active skill for every type."""
    folder = write_inputs(tmp_path_factory.mktemp("inputs"), active_skill=False)
    write_active_bank(folder / "bank.jsonl")
    return folder


def run(inputs, folder, method, *overrides):
    """Metrics of each training step."""
    done = train_toy(
        inputs,
        folder,
        *player_settings(inputs),
        *(f"trainer.total_training_steps={STEPS}", "trainer.test_freq=-1", f"trainer.save_freq={STEPS}"),
        *overrides,
        groups=f"{TOY},{method}",
        timeout=1800,
    )
    if "soft targets are not in the trainer" in done.stdout + done.stderr:
        pytest.skip("soft targets are refused")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    found = {r["step"]: r["metrics"] for r in read_metrics(folder / "metrics.jsonl") if r["kind"] == "train"}
    assert list(found) == [1, 2, 3]
    for metrics in found.values():
        assert np.isfinite(metrics["actor/grad_norm"])
    return found


def term(metrics, name):
    return metrics.get(f"siri/internalization/{name}", 0.0)


@pytest.mark.parametrize("method", FAMILY)
def test_three_iterations(inputs, tmp_path, method):
    found = run(inputs, tmp_path / "run", method)
    CHECKS.get(method, plain_turns_have_a_teacher)(found)


def plain_turns_have_a_teacher(found):
    for metrics in found.values():
        assert metrics["siri/phase"] == 2 and metrics["siri/skill_row_share"] == 0, "the skill is the teacher's alone"
        assert term(metrics, "lambda") > 0 and term(metrics, "teacher_gain_mean") != 0
        assert term(metrics, "rows_scored") > 0 or "actor/internalization_loss" in metrics


def skill_arm_is_internalized(found):
    assert all(metrics["siri/skill_row_share"] == 0.5 for metrics in found.values())
    assert sum(term(metrics, "rows_weighted") for metrics in found.values()) > 0


CHECKS = {"ucob": skill_arm_is_internalized, "skill_0_5": skill_arm_is_internalized}
