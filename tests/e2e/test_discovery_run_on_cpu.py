# SPDX-License-Identifier: Apache-2.0
"""A run of verl's trainer with every setting of discovery and of the end of active skills, stopped and resumed."""

import pytest
from support.toy_run import train, write_inputs

from siri_verl.runs.checkpoint import load_state
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics

pytestmark = pytest.mark.slow
SETTINGS = (
    *("siri.update.mini_batches=3", "siri.update.damped_mini_batches=1", "siri.update.damped_max_steps=2"),
    *("siri.exploration.temperature=1.5", "siri.exploration.patience=1", "siri.arms.share_by_gap=true"),
    *("siri.utility.internalized_ratio=0.9", "siri.utility.retire_confirmed=true", "siri.mining.every=1"),
    *("siri.mining.during_warm_up=true", "siri.mining.near_misses=true", "siri.mining.borrow=1"),
    *("siri.mining.condition_odds=3", "siri.phases.warm_up_max_steps=2", "siri.utility.retire_below=-0.9"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    inputs = write_inputs(tmp_path_factory.mktemp("inputs"))
    folder = tmp_path_factory.mktemp("run")
    train(inputs, folder, *SETTINGS, "trainer.total_training_steps=2", "trainer.save_freq=2")
    train(inputs, folder, *SETTINGS, "trainer.total_training_steps=4")
    return folder


@pytest.fixture(scope="module")
def steps(run):
    records = read_metrics(run / "metrics.jsonl")
    return {record["step"]: record["metrics"] for record in records if record["kind"] == "train"}


def test_damped_steps_take_fewer_optimizer_steps(steps):
    assert [steps[k]["siri/updates"] for k in (1, 2, 3, 4)] == [1, 1, 3, 3]


def test_skills_are_mined_in_warm_up(steps):
    assert steps[2]["siri/phase"] == 0 and steps[2]["siri/mining/requests"] > 0
    assert "siri/mining/requests" not in steps[1]


def test_the_measures_are_logged(steps):
    for metrics in steps.values():
        assert 0.25 <= metrics["siri/group_share"] <= 1.0 and metrics["siri/explored_groups"] >= 0


def test_the_state_is_in_the_checkpoint(run):
    state = load_state(RunFolder(run).checkpoint(2))["skills"]
    assert set(state["discovery"]) == {"since", "words"} and state["discovery"]["words"]["tasks"]
    assert {"near_misses", "solved"} <= set(state["pool"])
