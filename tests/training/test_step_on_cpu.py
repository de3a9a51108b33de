# SPDX-License-Identifier: Apache-2.0
"""What a step hands from one of verl's hooks to the next. Whole steps: test_method_on_cpu.py and
test_internalization_gradient_on_cpu.py."""

from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from support.synthetic_run import Story, make_run, play

from siri_verl.core.gigpo import GigpoSettings
from siri_verl.training.advantages import BatchAdvantages, table_advantages, weighing_settings
from siri_verl.training.batch_layout import batch_layout
from siri_verl.training.step import SiriStep, StepOrderError


@pytest.mark.parametrize("name", ["table", "rows", "layout"])
def test_a_value_that_verls_hooks_did_not_leave_is_an_error_and_never_the_last_steps(name):
    with pytest.raises(StepOrderError, match="step 3: .* is used before it is there. Expected of verl's trainer"):
        getattr(SiriStep(make_run(), 3, {}), name)


def test_metrics_are_taken_once():
    step = SiriStep(make_run(), 1, {})
    step.metrics["siri/x"] = 1.0
    assert step.take_metrics() == {"siri/x": 1.0}
    assert step.take_metrics() == {}


def test_advantages_follow_the_batch_and_are_0_on_other_rows():
    step = play(make_run(), [1], Story())
    keys = [*reversed(step.table.keys), "pad1_0_0"]
    tags = [{}] * len(step.table) + [{"is_padding": True}]
    step.algorithm = OmegaConf.create({"adv_estimator": "gigpo", "gigpo": {"gamma": 0.8}})
    found = step.advantages(SimpleNamespace(keys=keys, tags=tags))
    expected = table_advantages(step.table, GigpoSettings(gamma=0.8)).total
    assert found.shape == (len(keys), 1) and found[-1, 0] == 0
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found[:-1, 0], expected[::-1], rtol=1e-12)
    step.algorithm.adv_estimator = "grpo"
    assert step.advantages(SimpleNamespace(keys=keys, tags=tags)) is None, "verl's own estimator runs"


def test_rows_are_found_by_key():
    table = play(make_run(), [1], Story()).table
    found = BatchAdvantages.compute(table, GigpoSettings())
    assert found.of_rows([table.keys[3], "internal_0_0", table.keys[0]]).tolist() == [
        found.result.total[3],
        0.0,
        found.result.total[0],
    ]


def test_turns_are_weighed_over_both_arms():
    separate = OmegaConf.create({"adv_estimator": "gigpo", "gigpo": {"arms": "separate", "norm": "mean_std"}})
    assert weighing_settings(separate) == GigpoSettings(arms="joint", norm="mean_std")
    grpo = weighing_settings(OmegaConf.create({"adv_estimator": "grpo", "norm_adv_by_std_in_grpo": False}))
    assert (grpo.norm, grpo.step_weight, grpo.invalid_penalty) == ("mean", 0.0, 0.0)


@pytest.mark.parametrize(
    ("mini_batches", "rows", "steps"),
    [(3, 1000, 3), (None, 8, 1), (None, 9, 2)],  # verl's rows per optimizer step: 4 tasks of 2 trajectories
)
def test_the_number_of_optimizer_steps_does_not_depend_on_padding(mini_batches, rows, steps):
    sizes = {"use_dynamic_bsz": False, "ppo_micro_batch_size_per_gpu": 4, "ppo_mini_batch_size": 4}
    roles = {
        "actor": sizes,
        "rollout": {"n": 2, "log_prob_micro_batch_size_per_gpu": 6},
        "ref": {"log_prob_use_dynamic_bsz": False, "log_prob_micro_batch_size_per_gpu": 5},
    }
    config = OmegaConf.create({"actor_rollout_ref": roles})
    layout = batch_layout(config, rows, 2, mini_batches, reference_policy=True)
    assert (layout.optimizer_steps, layout.micro_batch, layout.multiple) == (steps, 60, 2 * steps * 60)
    assert batch_layout(config, rows, 2, mini_batches, reference_policy=False).micro_batch == 12
