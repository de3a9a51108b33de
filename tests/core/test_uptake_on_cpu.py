# SPDX-License-Identifier: Apache-2.0
"""Uptake: the newest groups, one per task; skills that end as internalized; retirement that the newest groups confirm;
the share of groups that shows skills."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from siri_verl.core.decisions import DecisionBook
from siri_verl.core.rules import UtilitySettings
from siri_verl.core.uptake import PairedGroup, fresh_groups, measured_gap, share_of_gap, uptake
from siri_verl.failures import ConfigError
from siri_verl.settings.arms import ArmsSettings

QUARTER = st.integers(0, 4).map(lambda k: k / 4)
GROUPS = st.lists(st.builds(PairedGroup, st.sampled_from("abcdefghij"), QUARTER, QUARTER), max_size=40)
ACTIVE_AT_ONCE = {"n_eval": 1, "ema_alpha": 0.5, "promote_above": 0.1, "retire_after": 1, "shrinkage_groups": 0.0}


def life(groups, rule="ema", **options):
    """The decisions about one skill over paired groups (plain, skill), each of another task unless it is named."""
    book, decisions = DecisionBook(UtilitySettings(decision=rule, **{**ACTIVE_AT_ONCE, **options})), []
    book.add("s", "shoes")
    for i, (plain, skill, *task) in enumerate(groups):
        decision = book.record("s", skill - plain, i, PairedGroup(*(task or [str(i)]), plain, skill))
        decisions += [decision] if decision else []
    return book, [(d.step, d.after) for d in decisions]


@settings(max_examples=200, deadline=None)
@given(GROUPS, st.integers(1, 12))
def test_of_each_task_the_newest_group_counts(groups, window):
    used = fresh_groups(groups, window)
    last = {group.task_id: i for i, group in enumerate(groups)}
    expected = [groups[i] for i in sorted(last.values(), reverse=True)][:window]
    assert used == expected


@settings(max_examples=200, deadline=None)
@given(GROUPS, st.integers(2, 8), st.floats(0.5, 0.99))
def test_the_interval_is_students(groups, window, level):
    found, used = uptake(groups, window, level), fresh_groups(groups, window)
    if len(used) < window:
        assert found is None
        return
    deltas = [group.skill - group.plain for group in used]
    mean = sum(deltas) / window
    assert found.plain == pytest.approx(sum(group.plain for group in used) / window)
    assert found.skill - found.plain == pytest.approx(mean)
    if len(set(deltas)) > 1:
        assert found.high == pytest.approx(stats.t.interval(level, window - 1, mean, stats.sem(deltas))[1])
    else:
        assert found.high == pytest.approx(mean)


TAKEN_UP = [(0.0, 1.0)] * 3 + [(0.25, 1.0)] * 3 + [(1.0, 1.0)] * 8


def test_a_skill_that_is_taken_up_ends_as_internalized():
    assert life(TAKEN_UP, retire_below=-0.5)[1] == [(0, "active")]
    book, decisions = life(TAKEN_UP, retire_below=-0.5, internalized_ratio=0.9, fresh_groups=6)
    assert decisions == [(0, "active"), (11, "internalized")]
    assert book.states["s"].status == "internalized"
    assert book.record("s", 1.0, 99) is None, "nothing follows"


@pytest.mark.parametrize("rule", ["ema", "sequential"])
def test_it_does_so_under_every_rule(rule):
    options = {"retire_below": -0.5, "internalized_ratio": 0.9, "fresh_groups": 6}
    decisions = life([(0.0, 1.0)] * 12 + [(1.0, 1.0)] * 8, rule, **options)[1]
    assert [after for _, after in decisions] == ["active", "internalized"]


@pytest.mark.parametrize(
    "end, why",
    [
        ([(0.5, 1.0)] * 8, "the plain arm is behind"),
        ([(0.0, 0.0)] * 8, "neither arm succeeds"),
        ([(1.0, 1.0, "a")] * 8, "one task says little"),
        ([(1.0, 0.0), (0.25, 1.0)] * 4, "the interval is wide"),
    ],
)
def test_nothing_else_counts_as_internalized(end, why):
    options = {"retire_below": -0.9, "internalized_ratio": 0.9, "fresh_groups": 6}
    assert life([(0.0, 1.0)] * 3 + end, **options)[1] == [(0, "active")], why


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(QUARTER, QUARTER), min_size=1, max_size=40), st.floats(0.5, 1.1))
def test_who_ends_as_internalized_meets_the_stated_conditions(groups, ratio):
    book, decisions = life(groups, internalized_ratio=ratio, fresh_groups=4, retire_below=-0.9)
    for step, after in decisions:
        if after == "internalized":
            plain, skill = (math.fsum(arm) / 4 for arm in zip(*groups[step - 3 : step + 1], strict=True))
            assert plain >= 0.5 and plain >= ratio * skill and skill - plain < 0.1
            assert step - 3 > decisions[0][0], "groups before the promotion do not count"


DIP = [(0.0, 1.0)] * 2 + [(0.0, 1.0)] * 6 + [(1.0, 0.0), (1.0, 0.25)] + [(0.0, 1.0)] * 6


def test_a_few_bad_groups_do_not_end_a_skill_that_still_helps():
    assert life(DIP, retire_below=0.05)[1] == [(0, "active"), (8, "retired")]
    assert life(DIP, retire_below=0.05, retire_confirmed=True)[1] == [(0, "active")]


def test_a_skill_whose_effect_is_gone_is_still_retired():
    gone = [(0.0, 1.0)] * 2 + [(0.25, 0.25), (0.25, 0.0)] * 10
    at_once, confirmed = (life(gone, retire_below=0.05, retire_confirmed=on)[1] for on in (False, True))
    assert [after for _, after in confirmed] == ["active", "retired"]
    assert at_once[1][0] < confirmed[1][0], "it takes as many groups as the window has"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(QUARTER, QUARTER), min_size=1, max_size=40))
def test_confirmation_only_ever_delays_the_end_of_an_active_skill(groups):
    (_, at_once), (_, confirmed) = (life(groups, retire_confirmed=on, fresh_groups=4) for on in (False, True))
    assert at_once[:1] == confirmed[:1]
    if len(confirmed) > 1:
        assert len(at_once) > 1 and at_once[1][0] <= confirmed[1][0]


# ---- the share of groups that show a skill ---------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1, 1), max_size=30), st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0.05, 1))
def test_the_share_lies_between_its_minimum_and_one(deltas, full, minimum, alpha):
    arms = ArmsSettings(share_by_gap=True, gap_full=full, gap_minimum=minimum, gap_alpha=alpha)
    share = arms.group_share(deltas)
    assert minimum <= share <= 1
    gap = measured_gap(deltas, full, alpha)
    assert min([full, *deltas]) - 1e-9 <= gap <= max([full, *deltas]) + 1e-9
    assert arms.group_share([*deltas, 1.0]) >= share - 1e-9
    assert arms.group_share([*deltas, min(gap, 0.0)]) <= share + 1e-9


def test_the_share_starts_at_one_and_falls_as_the_gap_closes():
    arms = ArmsSettings(share_by_gap=True)
    shares = [arms.group_share([0.0] * n) for n in range(30)]
    assert shares[0] == 1.0 and shares[-1] == 0.25
    assert shares == sorted(shares, reverse=True)
    assert share_of_gap(0.1, 0.2, 0.25) == 0.5
    assert ArmsSettings().group_share([0.0] * 99) == 1.0


def test_the_book_measures_the_gap_with_active_skills_alone():
    book, _ = life([(0.0, 1.0), (0.5, 1.0), (0.75, 1.0)])
    assert book.shown == {"shoes": [0.5, 0.25]}, "the group that led to the promotion is not among them"
    book.add("t", "shoes")
    book.record("t", -1.0, 9)
    assert book.shown == {"shoes": [0.5, 0.25]}, "nor are groups of a candidate"
    retired, decisions = life([(0.0, 1.0)] + [(0.5, 0.0)] * 3)
    assert decisions[-1][1] == "retired" and len(retired.shown.get("shoes", [])) == 0
    kept, decisions = life(TAKEN_UP, retire_below=-0.5, internalized_ratio=0.9, fresh_groups=6)
    assert decisions[-1][1] == "internalized" and kept.shown["shoes"][-1] == 0.0, "its groups stay freed"


@pytest.mark.parametrize(
    "options",
    [{"internalized_ratio": 0.0}, {"internalized_success": 0.0}, {"fresh_groups": 1}, {"fresh_effect": 0.0},
     {"fresh_level": 1.0}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(ConfigError, match=f"siri.utility.{next(iter(options))}"):
        UtilitySettings(**options)


@pytest.mark.parametrize("name", ["gap_full", "gap_minimum", "gap_alpha"])
def test_shares_of_nothing_are_refused(name):
    with pytest.raises(ConfigError, match=f"siri.arms.{name}"):
        ArmsSettings(**{name: 0.0})
