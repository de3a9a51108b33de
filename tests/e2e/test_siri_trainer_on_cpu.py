# SPDX-License-Identifier: Apache-2.0
"""The real trainer, end to end: verl's main, Ray, FSDP2, TransferQueue, environment servers, the light server,
GiGPO."""

import json
import subprocess
from pathlib import Path

import pytest
from support.configs import train_toy
from support.tiny_model import write_toy_inputs

from siri_verl.runs.metrics import read_metrics
from siri_verl.trajectory.file import read_trajectories

STEPS = 2
VARYING = ("timing", "perf/", "rollout_corr", "rollout_probs_diff", "rollout_actor_probs")
"""Metrics that measure the machine, or the rounding between server and actor, which depends on how requests were
batched."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_toy_inputs(tmp_path_factory.mktemp("inputs"))


def train(inputs: Path, run: Path, *overrides: str) -> subprocess.CompletedProcess:
    settings = (
        *("data.max_prompt_length=512", "data.max_response_length=12", "actor_rollout_ref.rollout.n=4"),
        *(f"trainer.total_training_steps={STEPS}", f"trainer.test_freq={STEPS}", "trainer.save_freq=1"),
        "siri.update.mini_batches=1",
    )
    return train_toy(inputs, run, *settings, *overrides, timeout=1200)


def steady(record: dict) -> dict:
    return {k: v for k, v in record["metrics"].items() if not any(part in k for part in VARYING)}


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    result = train(inputs, run)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return run


def test_run_trains_validates_and_leaves_everything_on_disk(finished):
    records = read_metrics(finished / "metrics.jsonl")
    assert [(r["kind"], r["step"]) for r in records] == [
        ("validation", 0),
        ("train", 1),
        ("train", 2),
        ("validation", 2),
    ]
    for record in records:
        if record["kind"] != "train":
            assert record["metrics"]["siri/val/episodes"] == 16
            continue
        metrics = record["metrics"]
        assert metrics["siri/rows"] == 4 * 4 * 3  # a random model never solves the toy task: every episode is cut
        assert metrics["siri/env_steps_total"] == 48 * record["step"]
        assert metrics["actor/grad_norm"] > 0  # the penalty of malformed replies differs within groups
        assert metrics["siri/updates"] == 1
        # what the light server sampled with is what the actor computes
        assert metrics["training/rollout_probs_diff_max"] < 1e-4
    for step in (1, 2):
        folder = finished / f"global_step_{step}"
        assert json.loads((folder / "siri_state.json").read_text())["env_steps"] == 48 * step
        assert (folder / "actor" / "huggingface" / "config.json").exists()


def test_run_says_what_made_it_and_keeps_some_trajectories(finished):
    (start,) = json.loads((finished / "run.json").read_text())["starts"]
    assert "verl.trainer.main_ppo" in start["command"] and str(finished) in start["command"]
    assert start["seed"] == 1
    assert start["machine"]["cores"] >= 1
    assert start["versions"]["verl"]
    kept = read_trajectories(finished / "trajectories.jsonl").trajectories
    by_source = {}
    for trajectory in kept:
        by_source.setdefault((trajectory.source, trajectory.step), set()).add(trajectory.task_id)
        assert len(trajectory.turns) == 3
        assert trajectory.task
        assert all(turn.reply for turn in trajectory.turns)
    assert {key: len(tasks) for key, tasks in by_source.items()} == {
        ("validation", 0): 12,
        ("validation", 2): 12,
        ("training", 1): 4,
        ("training", 2): 4,
    }
    assert by_source["validation", 0] == by_source["validation", 2]


@pytest.mark.slow
def test_a_critic_and_a_budget_and_validation_alone_afterwards(inputs, tmp_path):
    """63 rows in optimizer steps of 28 of the critic: padding alone would fill two of the five steps. The budget ends
    the run long before a checkpoint and a validation are due."""
    run = tmp_path / "run"
    settings = (
        *("algorithm.adv_estimator=gae", f"critic.model.path={inputs}/model", "critic.ppo_mini_batch_size=4"),
        *("data.train_batch_size=3", "actor_rollout_ref.rollout.n=7", "actor_rollout_ref.actor.ppo_mini_batch_size=2"),
        *("siri.update.mini_batches=null", "siri.phases.fixed=warm_up", "siri.budget.env_steps=63"),
        *("trainer.total_training_steps=9", "trainer.save_freq=50", "trainer.test_freq=50"),
    )
    done = train(inputs, run, *settings, f"trainer.rollout_data_dir={tmp_path}/dump")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    records = read_metrics(run / "metrics.jsonl")
    assert [(r["kind"], r["step"]) for r in records] == [("validation", 0), ("train", 1), ("validation", 1)]
    metrics = records[1]["metrics"]
    assert metrics["siri/rows"] == metrics["siri/env_steps_total"] == 63 and metrics["siri/updates"] == 5
    assert metrics["critic/grad_norm"] > 0
    assert json.loads((run / "global_step_1" / "siri_state.json").read_text())["env_steps"] == 63
    assert len((tmp_path / "dump" / "1.jsonl").read_text().splitlines()) == 63

    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    done = train(inputs, run, *settings, "trainer.val_only=True", "actor_rollout_ref.rollout.val_kwargs.n=2")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    (record,) = read_metrics(run / "val_only" / "metrics.jsonl")
    assert (record["kind"], record["step"], record["metrics"]["siri/val/episodes"]) == ("validation", 1, 32)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run(finished, inputs, tmp_path):
    assert train(inputs, tmp_path).returncode == 0
    again, first = read_metrics(tmp_path / "metrics.jsonl"), read_metrics(finished / "metrics.jsonl")
    assert [steady(r) for r in again] == [steady(r) for r in first]


@pytest.mark.slow
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(finished, inputs, tmp_path):
    assert train(inputs, tmp_path, "trainer.total_training_steps=1").returncode == 0
    assert train(inputs, tmp_path).returncode == 0
    resumed, whole = read_metrics(tmp_path / "metrics.jsonl"), read_metrics(finished / "metrics.jsonl")
    train_steps = [[steady(r) for r in records if r["kind"] == "train"] for records in (resumed, whole)]
    # The run that was to end after step 1 was validated there.
    for name in [name for name in train_steps[0][0] if name.startswith(("siri/val/", "val-"))]:
        del train_steps[0][0][name]
    assert train_steps[0] == train_steps[1]


def test_wrong_settings_fail_before_workers_start(inputs, tmp_path):
    result = train(inputs, tmp_path, "siri.prompt.templat=x")
    assert result.returncode != 0
    assert "siri.prompt.templat" in result.stdout + result.stderr
