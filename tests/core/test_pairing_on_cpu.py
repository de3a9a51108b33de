# SPDX-License-Identifier: Apache-2.0
"""Arms, and treatment effects against hand-computed and randomly generated groups."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.pairing import ArmPlan, advantage_groups, effect_rows, treatment_effects


def effects(rows, success_reward=10.0, **more):
    group, trajectory, arm, skill, ret = (list(column) for column in zip(*rows, strict=True))
    return treatment_effects(group, trajectory, arm, skill, ret, success_reward=success_reward, **more)


def test_delta_by_hand_in_success_units():
    rows = [
        ("t", 0, "plain", "", 0),
        ("t", 1, "plain", "", 10),
        ("t", 2, "skill", "s1", 10),
        ("t", 3, "skill", "s1", 10),
    ]
    got = effects(rows)["t"]
    assert (got.delta, got.skill_mean, got.plain_mean, got.skill_n, got.plain_n) == (0.5, 1.0, 0.5, 2, 2)
    assert got.skill_id == "s1" and got.defined


@st.composite
def batches(draw):
    """Groups with trajectories of uneven length; returns on a grid."""
    rows = []
    for g in range(draw(st.integers(1, 4))):
        skill = draw(st.sampled_from(["", "s1", "s2"]))
        for t in range(draw(st.integers(1, 5))):
            arm = draw(st.sampled_from(["plain", "skill"])) if skill else "plain"
            ret = draw(st.sampled_from([0.0, 10.0, 4.0, -1.0]))
            rows += [(g, t, arm, skill if arm == "skill" else "", ret)] * draw(st.integers(1, 4))
    return draw(st.permutations(rows))


@settings(max_examples=200, deadline=None)
@given(batches())
def test_delta_is_the_difference_of_the_arms_means_over_trajectories(rows):
    got = effects(rows)
    for g in {row[0] for row in rows}:
        runs = {row[1]: row for row in rows if row[0] == g}.values()
        arms = {arm: [row[4] / 10 for row in runs if row[2] == arm] for arm in ("plain", "skill")}
        if arms["plain"] and arms["skill"]:
            assert got[g].delta == pytest.approx(statistics.fmean(arms["skill"]) - statistics.fmean(arms["plain"]))
            assert got[g].undefined == ""
        else:
            assert math.isnan(got[g].delta) and got[g].undefined == (
                "no_plain_arm" if arms["skill"] else "no_skill_arm"
            )
        assert (got[g].plain_n, got[g].skill_n) == (len(arms["plain"]), len(arms["skill"]))


@settings(max_examples=100, deadline=None)
@given(batches(), st.randoms(use_true_random=False))
def test_neither_row_order_nor_the_number_of_turns_matters(rows, random):
    once = list(dict.fromkeys(rows))
    random.shuffle(once)
    straight, reduced = effects(rows), effects(once)
    assert {g: repr(e) for g, e in straight.items()} == {g: repr(e) for g, e in reduced.items()}


@settings(max_examples=100, deadline=None)
@given(batches(), st.floats(-3, 3))
def test_a_constant_added_to_all_returns_cancels(rows, shift):
    straight, moved = effects(rows), effects([(*row[:4], row[4] + shift) for row in rows])
    for g, effect in straight.items():
        assert moved[g].delta == pytest.approx(effect.delta, abs=1e-9, nan_ok=True)


def test_one_excluded_row_spoils_its_group_alone():
    rows = [(g, t, "skill" if t else "plain", "s" if t else "", 10 * t) for g in "ab" for t in (0, 1)]
    got = effects(rows, excluded=[False, True, False, False])
    assert got["a"].undefined == "excluded" and math.isnan(got["a"].delta)
    assert got["b"].delta == 1.0
    np.testing.assert_array_equal(effect_rows(["b", "a", "b"], got), [1.0, np.nan, 1.0])


@pytest.mark.parametrize(
    "rows, message",
    [
        ([("t", 0, "control", "", 0)], "arm of row 0 is 'control'"),
        ([("t", 0, "skill", "", 0)], "row 0 is in the skill arm and names no skill"),
        ([("t", 0, "plain", "s", 0)], "row 0 is in the plain arm and names skill 's'"),
        ([("t", 0, "skill", "a", 0), ("t", 1, "skill", "b", 0)], "group 't' shows the skills 'a' and 'b'"),
        ([("t", 0, "plain", "", 0), ("t", 0, "plain", "", 1)], "trajectory_return of row 1 differs from row 0"),
        ([("t", 0, "plain", "", 0), ("t", 0, "skill", "s", 0)], "arm of row 1 differs from row 0"),
        ([("t", 0, "plain", "", float("nan"))], "trajectory_return of row 0 is nan"),
        ([(None, 0, "plain", "", 0)], "group of row 0 is missing"),
    ],
)
def test_bad_rows_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        effects(rows)


def test_success_reward_must_be_positive():
    with pytest.raises(ValueError, match="success_reward=0"):
        effects([("t", 0, "plain", "", 0)], success_reward=0)


def test_arms_of_sessions():
    assert ArmPlan.split(8) == ArmPlan(plain=4, skill=4)
    assert ArmPlan.split(8, 0.25) == ArmPlan(plain=6, skill=2)
    assert ArmPlan.split(8, 0.0) == ArmPlan(plain=8, skill=0)


@pytest.mark.parametrize("size, share", [(7, 0.5), (8, 0.3), (1, 0.5), (8, -0.5), (8, 1.0)])
def test_arms_that_do_not_divide_the_group_are_refused(size, share):
    with pytest.raises(ValueError, match="skill_share"):
        ArmPlan.split(size, share)


def test_advantage_groups():
    assert advantage_groups(["t", "t"], ["plain", "skill"]) == ["t", "t"]
    assert advantage_groups(["t", "t"], ["plain", "skill"], "separate") == [("t", "plain"), ("t", "skill")]
    with pytest.raises(ValueError, match="arms='both'"):
        advantage_groups(["t"], ["plain"], "both")
