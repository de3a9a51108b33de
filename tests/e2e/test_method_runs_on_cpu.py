# SPDX-License-Identifier: Apache-2.0
"""Three iterations of the real trainer with the group of each published method, on the toy game."""

import os

import numpy as np
import pytest
from support.configs import TOY, train_toy
from support.example_runs import EXAMPLES
from support.method_family import FAMILY
from support.toy_run import player_settings, write_active_inputs

from siri_verl.runs.metrics import read_metrics

STEPS = 3
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_active_inputs(tmp_path_factory.mktemp("inputs"))


def run(inputs, folder, groups, *overrides, **environment):
    """Metrics of each training step."""
    done = train_toy(
        inputs,
        folder,
        *player_settings(inputs),
        *(f"trainer.total_training_steps={STEPS}", "trainer.test_freq=-1", f"trainer.save_freq={STEPS}"),
        *overrides,
        groups=groups,
        timeout=1800,
        **environment,
    )
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
    found = run(inputs, tmp_path / "run", f"{TOY},{method}", *OVERRIDES.get(method, ()))
    CHECKS.get(method, plain_turns_have_a_teacher)(found)


def plain_turns_have_a_teacher(found):
    for metrics in found.values():
        assert metrics["siri/phase"] == 2 and metrics["siri/skill_row_share"] == 0, "the skill is the teacher's alone"
        assert term(metrics, "lambda") > 0 and term(metrics, "teacher_gain_mean") != 0
        assert term(metrics, "rows_scored") > 0 or "actor/internalization_loss" in metrics


def skill_arm_is_internalized(found):
    assert all(metrics["siri/skill_row_share"] == 0.5 for metrics in found.values())
    assert sum(term(metrics, "rows_weighted") for metrics in found.values()) > 0


def own_successes_are_replayed(found):
    assert all(metrics["siri/skill_row_share"] == 0 for metrics in found.values())
    replayed = [term(metrics, "rows_replayed") for metrics in found.values()]
    assert replayed[0] == 0 < replayed[1] < replayed[2], "the buffer grows"
    for metrics in found.values():
        assert metrics["siri/updates"] == 3, "two of the policy, one of its own"
        assert term(metrics, "rows_weighted") > 0 and metrics["actor/internalization_loss"] < 0
    weights = [term(metrics, "lambda") for metrics in found.values()]
    assert 0 < weights[0] < weights[1] < weights[2] < 0.01, "a cosine over 200 updates"


def skills_are_shown_and_not_distilled(found):
    for metrics in found.values():
        assert metrics["siri/phase"] == 1 and "actor/internalization_loss" not in metrics
    assert found[1]["siri/skill_row_share"] == 0.5


def the_writer_learns(found):
    skills_are_shown_and_not_distilled(found)
    learned = [metrics.get("siri/writer/rows", 0.0) for metrics in found.values()]
    assert sum(learned) > 0, "some effects differ"
    for metrics in found.values():
        # the replies' log-probs are those that they were sampled with
        assert metrics["training/rollout_probs_diff_max"] < 1e-4


OVERRIDES = {
    "evolving": (
        *("siri.mining.every=1", "siri.retrieval.explore=1", "siri.writer.groups=1", "siri.writer.warm_up_steps=0"),
    ),
    "sage": ("siri.writer.groups=1", "siri.writer.warm_up_steps=0"),
}


def skills_are_tested_and_distilled(found):
    assert [metrics["siri/phase"] for metrics in found.values()] == [0, 1, 2]
    assert term(found[3], "rows_weighted") > 0


CHECKS = {
    "bayesian_agent": skills_are_tested_and_distilled,
    "slim": skills_are_shown_and_not_distilled,
    "evolving": the_writer_learns,
    "sage": the_writer_learns,
    "skill0": skills_are_shown_and_not_distilled,
    "ucob": skill_arm_is_internalized,
    "skill_0_5": skill_arm_is_internalized,
    "spear": own_successes_are_replayed,
}


def test_parts_of_the_users(inputs, tmp_path):
    """examples/own_method: functions of a module that only PYTHONPATH knows, also in the workers."""
    found = run(
        inputs,
        tmp_path / "run",
        TOY,
        *("siri.phases.fixed=internalization", "siri.internalization.warmup_updates=0"),
        *("siri.internalization.token_weight=my_method:doubled", "siri.internalization.normalise=weights"),
        *("siri.internalization.source=my_method:solved_and_rare", "siri.utility.decision=my_method:sign_rule"),
        PYTHONPATH=os.pathsep.join([str(EXAMPLES / "own_method"), os.environ.get("PYTHONPATH", "")]),
    )
    assert any(0 < term(metrics, "token_weight_mean") <= 1 for metrics in found.values())
