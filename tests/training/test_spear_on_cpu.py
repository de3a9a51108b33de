# SPDX-License-Identifier: Apache-2.0
"""SPEAR's rows as the workers get them: own successes of this iteration and of earlier ones, in a step of their own."""

import numpy as np
import pytest
from omegaconf import OmegaConf
from support.driver import Step, prepare

from siri_verl.core.teacher_methods import vetted_settings
from siri_verl.runs.replay import PastRow

SPEAR = [
    f"siri.internalization.{name}={'inf' if value == float('inf') else OmegaConf.create([value])[0]}"
    for name, value in vars(vetted_settings("spear")).items()
    if value is not None
]


def past(step, reward):
    return PastRow(step, [5, 6, 7], [8, 9, 10, 11], (0, 4), (1, 3), reward, [-1.0, -2.0, -0.5, -0.25], [])


@pytest.fixture(scope="module")
def step(transfer_queue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spear")
    prepare(folder)
    return Step(transfer_queue, folder, *SPEAR, past=[past(0, 10.0), past(0, 0.0), past(-5, 10.0)])


def returns(step):
    """(trajectory -> R, group -> trajectories)."""
    found: dict[tuple, float] = {}
    for key, row in step.rows.items():
        trajectory = key.rsplit("_", 1)[0]
        found[trajectory] = found.get(trajectory, 0.0) + row["fields"]["turn_reward"]
    groups: dict[str, list[str]] = {}
    for trajectory in found:
        groups.setdefault(trajectory.rsplit("_", 1)[0], []).append(trajectory)
    return found, groups


def test_rows_are_successes_weighed_by_what_they_exceed_the_median_group(step):
    found, groups = returns(step)
    usable = {str(t) for t in step.now.table.trajectory[step.now.table.usable]}
    means = [
        np.mean([found[t] for t in members if t in usable]) for members in groups.values() if set(members) & usable
    ]
    median = np.median(means)
    selection, table = step.now.extra.selection, step.now.table
    current = [i for i in selection.rows if i >= 0]
    assert current and all(found[str(table.trajectory[i])] > median for i in current)
    assert all(table.valid[i] and table.usable[i] for i in current)
    expected = [found[str(table.trajectory[i])] - median for i in current]
    assert selection.weight[: len(current)] == pytest.approx(expected)
    (replayed,) = selection.past
    assert replayed.step == 0 and replayed.weight == pytest.approx(10.0 - median), "not the failure, nor the old one"


def test_they_have_a_step_of_their_own_with_the_log_probs_of_when_they_were_sampled(step):
    (_, _, policy), (_, sent, own) = step.workers.updates
    assert not policy["internalization_alone"] and own["internalization_alone"]
    assert own["internalization_lambda"] == pytest.approx((1 - np.cos(np.pi / 200)) / 2)
    assert own["internalization_settings"].divergence == "surrogate"
    old = [row.tolist() for row in sent[0]["teacher_old_log_probs"].unbind()]
    assert pytest.approx([-1.0, -2.0, -0.5, -0.25]) in old


def test_what_is_kept_is_the_return(step):
    found, _ = returns(step)
    kept = [row for row in step.now.siri.replay.rows if row.step == 1]
    assert kept and {row.weight for row in kept} <= set(found.values()) and all(row.weight > 0 for row in kept)
    assert len(step.now.siri.replay.baseline.groups) == len(
        {str(g) for g in step.now.table.group[step.now.table.usable]}
    )
