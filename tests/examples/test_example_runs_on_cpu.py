# SPDX-License-Identifier: Apache-2.0
"""Every example as its README says to run it, through verl's main, Ray, FSDP2, TransferQueue and the light server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.example_runs import EXAMPLES

from siri_verl.runs.metrics import read_metrics
from siri_verl.skills.bank_file import load_bank

pytestmark = pytest.mark.slow  # two minutes each, and more on a busy machine


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder for what the examples prepare; runs of one example share it."""
    return tmp_path_factory.mktemp("inputs")


def start(inputs: Path, run: Path, folder: str, *arguments: str, script: str = "run", **variables: str):
    environment = {
        **os.environ,
        "SKIP_INSTALL": "1",
        "PYTHON": sys.executable,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "INPUTS": str(inputs / folder),
        "RUN_DIR": str(run),
        **variables,
    }
    command = ["bash", str(EXAMPLES / folder / f"{script}.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1700)


def finish(result: subprocess.CompletedProcess) -> str:
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-5000:]
    return result.stdout + result.stderr


def steps(run: Path) -> dict[int, dict[str, float]]:
    """Step -> metrics of training and validation."""
    found: dict[int, dict[str, float]] = {}
    for record in read_metrics(run / "metrics.jsonl"):
        found.setdefault(record["step"], {}).update(record["metrics"])
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("estimator", "mode", "last"),
    [("gigpo", "sync", 8), ("grpo", "sync", 3), ("gigpo", "colocate_async", 4), ("rloo", "sync", 3)],
)
def test_one_flag_in_verls_own_trainers(inputs, tmp_path, estimator, mode, last):
    overrides = (f"trainer.v1.trainer_mode={mode}", f"trainer.total_training_steps={last}")
    shown = finish(start(inputs, tmp_path, "one_flag", estimator, *overrides))
    log = steps(tmp_path)
    assert set(log) == set(range(last + 1))
    assert f"step {last}/{last} | " in shown and f"picture: {tmp_path}/learning_curve.png" in shown
    norms = [log[step]["actor/grad_norm"] for step in range(1, last + 1)]
    # Once every trajectory of every group succeeds nothing is left to learn from.
    assert np.isfinite(norms).all() and norms[0] > 0
    if (estimator, mode) == ("gigpo", "sync"):
        # verl's own modes do not seed what they sample; from .2 it gets to .9 and more
        assert log[8]["val-core/corridor/acc/mean@16"] > log[0]["val-core/corridor/acc/mean@16"] + 0.3
    stale = max(log[step]["training/off_policy/trajectory_staleness/max"] for step in range(1, last + 1))
    assert (stale > 0) == (mode == "colocate_async")


@pytest.mark.timeout(1800)
def test_the_comparison_ends_with_a_page_and_a_picture(inputs, tmp_path):
    two_steps = ("trainer.total_training_steps=2", "trainer.test_freq=2")
    here = {"REPETITIONS": "1", "RESULTS": str(tmp_path)}
    shown = finish(start(inputs, tmp_path, "one_flag", *two_steps, script="compare", **here))
    page = (tmp_path / "report" / "report.html").read_text()
    assert "GiGPO minus GRPO: " in page
    picture = shown.splitlines()[-1].removeprefix("the curves: ")
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.timeout(1800)
def test_one_flag_without_the_three_lines_says_which_to_add(inputs, tmp_path):
    # verl's own loop in place of the example's
    result = start(
        inputs, tmp_path, "one_flag", "gigpo", "actor_rollout_ref.rollout.agent.agent_loop_config_path=null",
        f"data.train_files={_renamed(inputs, tmp_path)}", "trainer.val_before_train=false",
        f"reward.custom_reward_function.path={Path(__file__).parents[1]}/e2e/toy/reward.py",
    )  # fmt: skip
    assert result.returncode != 0
    log = (tmp_path / "run.log").read_text()
    assert "rows state no 'anchor'" in log
    for line in ('output.extra_fields["anchor"] =', 'output.extra_fields["anchors"] =', "adv_estimator=grpo"):
        assert line in log


def _renamed(inputs: Path, folder: Path) -> Path:
    import pandas

    table = pandas.read_parquet(inputs / "one_flag" / "train.parquet")
    table["agent_name"] = "single_turn_agent"
    table.to_parquet(folder / "train.parquet")
    return folder / "train.parquet"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", ["before", "gigpo"])
def test_a_tool_agent_pipeline_in_verls_own_trainer(inputs, tmp_path, variant):
    finish(start(inputs, tmp_path, "add_siri_to_a_pipeline", variant, "trainer.total_training_steps=4"))
    log = steps(tmp_path)
    assert set(log) == set(range(5))
    for step in range(1, 5):
        found = log[step]
        assert np.isfinite(found["actor/grad_norm"]) and found["training/rollout_probs_diff_max"] < 1e-4
        assert 2 < found["training/num_turns/mean"]
        if variant == "gigpo":
            # turns of one conversation differ, which one advantage for all of its tokens cannot say
            assert found["critic/advantages/max"] > found["critic/advantages/min"]


@pytest.mark.timeout(1800)
def test_the_same_pipeline_with_siri(inputs, tmp_path):
    shown = finish(start(inputs, tmp_path, "add_siri_to_a_pipeline", "after"))
    metrics = {r["step"]: r["metrics"] for r in read_metrics(tmp_path / "metrics.jsonl") if r["kind"] == "train"}
    assert metrics[1]["siri/phase"] == 0 and metrics[16]["siri/phase"] == 2
    assert metrics[3]["siri/mining/requests"] > 0 and metrics[3]["siri/paired_groups"] > 0
    bank = load_bank(tmp_path / "skills.jsonl")
    strategies = {skill.strategy: skill for skill in bank.skills.values()}
    # what it says was taught, that it helps was found out
    # it is retired again once the plain arm does the same
    assert strategies.pop("ask the board where to go").was_active
    assert strategies and not any(skill.was_active for skill in strategies.values())
    added = [found["siri/internalization/rows_added"] for found in metrics.values()]
    assert added[0] == 0 and max(added) > 0
    assert all(np.isfinite(found["actor/grad_norm"]) for found in metrics.values())
    text = next(iter(sorted((tmp_path / "prompts").iterdir()))).read_text()
    plain, shown, twin = (text.split(f"=== {name}")[1].split("===")[0] for name in
                          ("plain arm: prompt", "skill arm: prompt", "skill arm: the plain prompt"))  # fmt: skip
    assert "procedure" in shown and "procedure" not in plain + twin
    assert twin.split("\n", 1)[1].strip() == plain.strip()


@pytest.mark.timeout(1800)
def test_an_environment_of_ones_own(inputs, tmp_path):
    log = finish(start(inputs, tmp_path, "own_environment"))
    assert "guess_number:GuessNumber-v0: 5 episodes" in log
    records = read_metrics(tmp_path / "metrics.jsonl")
    curve = {r["step"]: r["metrics"]["siri/val/success"] for r in records if r["kind"] == "validation"}
    assert curve[max(curve)] > curve[0] + 0.15
    for record in records:
        if record["kind"] == "train":
            assert np.isfinite(record["metrics"]["actor/grad_norm"])
            assert record["metrics"]["siri/excluded_share"] == 0
            assert record["metrics"]["siri/step_group/size_mean"] > 1, "anchors are shared"
