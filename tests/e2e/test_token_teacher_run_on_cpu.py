# SPDX-License-Identifier: Apache-2.0
"""Variants of the token teacher in the real trainer: optimizer steps of their own with replay, stopped and resumed, and
plain turns whose teacher sees the skill."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.configs import train_toy
from support.toy_run import player_settings, write_active_inputs

from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics
from siri_verl.runs.replay import read_replay

STEPS = 3
ALONE = ("steps=2", "replay=6", "replay_steps=2", "token_weight=shift", "normalise=weights", "ratio_cap=2")
SOFT = ("target=top_k", "top_k=20", "divergence=forward")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_active_inputs(tmp_path_factory.mktemp("inputs"))


def train(inputs: Path, run: Path, *internalization: str, steps: int = STEPS) -> dict[int, dict[str, float]]:
    done: subprocess.CompletedProcess = train_toy(
        inputs,
        run,
        *player_settings(inputs),
        *(f"siri.initial_bank={inputs}/bank.jsonl", "siri.phases.fixed=internalization"),
        *(f"trainer.total_training_steps={steps}", "trainer.test_freq=-1", "trainer.save_freq=1"),
        "siri.internalization.warmup_updates=0",
        *(f"siri.internalization.{setting}" for setting in internalization),
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    found = {r["step"]: r["metrics"] for r in read_metrics(run / "metrics.jsonl") if r["kind"] == "train"}
    for metrics in found.values():
        assert np.isfinite(metrics["actor/grad_norm"]) and metrics["actor/grad_norm"] > 0
    return found


@pytest.mark.parametrize("target", [(), SOFT], ids=["sampled", "top_k"])
def test_steps_of_their_own_with_replay_survive_a_stop(inputs, tmp_path, target):
    settings = (*ALONE, *target)
    whole = train(inputs, tmp_path / "whole", *settings)
    train(inputs, tmp_path / "resumed", *settings, steps=2)
    resumed = train(inputs, tmp_path / "resumed", *settings)
    assert whole[1]["siri/internalization/rows_replayed"] == 0 < whole[3]["siri/internalization/rows_replayed"] <= 6
    for step in range(1, STEPS + 1):
        assert whole[step]["siri/updates"] == 4, "two of the policy, two of internalization"
        assert whole[step]["siri/internalization/grad_norm"] > 0
        assert 0 < whole[step]["siri/internalization/token_weight_mean"] <= 1
    checkpoints = [RunFolder(tmp_path / name).checkpoint(STEPS) for name in ("whole", "resumed")]
    assert checkpoints[0].replay.read_bytes() == checkpoints[1].replay.read_bytes()
    kept = read_replay(checkpoints[0].replay)
    assert {row.step for row in kept} == {2, 3}
    assert all(bool(row.top_ids) == bool(row.top_log_probs) == bool(target) for row in kept)
    for name in ("tokens_gated", "teacher_gain_mean", "grad_norm", "rows_replayed"):
        key = f"siri/internalization/{name}"
        assert resumed[STEPS][key] == whole[STEPS][key], name


@pytest.mark.parametrize(
    "setting",
    [
        ("rows=both", "divergence=k3", "span=response", "row_weight=gap"),
        ("rows=both", "divergence=jsd", "span=response", "row_weight=gap", "target=top_k", "top_k_of=student"),
        ("rows=plain_under_skill", "divergence=reverse", "row_weight=one", "target=full"),
        ("rows=plain_under_skill", "role=advantage_factor", "divergence=reverse", "row_weight=one", "span=response"),
        ("rows=plain_under_skill", "role=advantage_term", "divergence=reverse", "row_weight=one", "span=response"),
    ],
    ids=" ".join,
)
def test_plain_turns_have_a_teacher(inputs, tmp_path, setting):
    found = train(inputs, tmp_path, *setting)
    for metrics in found.values():
        assert metrics["siri/internalization/teacher_gain_mean"] != 0
        if "role" in setting[1]:
            assert metrics["siri/internalization/rows_scored"] > 0
            assert metrics["siri/internalization/advantage_change_abs"] > 0
            assert "actor/internalization_loss" not in metrics, "the loss is the policy's alone"
        else:
            assert metrics["actor/internalization_loss"] > 0
