# SPDX-License-Identifier: Apache-2.0
"""SKILL0's schedule on hand-made histories."""

import pytest

from siri_verl.core.curriculum import CurriculumSettings, measured_gaps, shown_types, shows
from siri_verl.failures import ConfigError

SKILL0 = CurriculumSettings(budgets=[6, 3, 0], stage_steps=60)
GAPS = {"a": 0.4, "b": 0.1, "c": 0.3, "d": -0.1, "e": 0.0, "f": 0.2}


def test_the_budget_falls_by_stages_and_the_last_lasts():
    assert [SKILL0.budget(step) for step in (1, 60, 61, 120, 121, 180, 999)] == [6, 6, 3, 3, 0, 0, 0]
    assert CurriculumSettings().budget(1) is None


@pytest.mark.parametrize("budget, expected", [(6, "acfbe"), (4, "acf"), (3, "ac"), (2, "a"), (1, ""), (0, "")])
def test_the_types_with_the_largest_gaps_of_at_least_0_are_shown(budget, expected):
    assert shown_types(GAPS, budget) == frozenset(expected)


def test_a_gap_is_that_of_the_last_interval_that_measured_it():
    evidence = [("a", 3, 1.0), ("a", 12, 0.5), ("a", 19, 0.1), ("b", 10, -0.5), ("a", 21, -1.0)]
    assert measured_gaps(evidence, 10, 10) == {}, "the first interval is not over"
    assert measured_gaps(evidence, 11, 10) == {"a": 1.0, "b": -0.5}
    assert measured_gaps(evidence, 21, 10) == {"a": pytest.approx(0.3), "b": -0.5}
    assert measured_gaps(evidence, 40, 10) == {"a": -1.0, "b": -0.5}


def test_a_run_shows_all_then_the_best_then_none():
    assert all(shows(SKILL0, kind, {}, 1) for kind in GAPS), "nothing is measured yet"
    assert {kind for kind in GAPS if shows(SKILL0, kind, GAPS, 30)} == {*"acfbe"}
    assert {kind for kind in GAPS if shows(SKILL0, kind, GAPS, 61)} == {"a", "c"}
    assert not any(shows(SKILL0, kind, gaps, 121) for kind in GAPS for gaps in (GAPS, {})), "the last third is plain"
    assert all(shows(CurriculumSettings(), kind, GAPS, 121) for kind in GAPS)


@pytest.mark.parametrize("wrong", [{"budgets": [3, -1]}, {"stage_steps": 0}, {"measure_every": 0}])
def test_wrong_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=f"siri.curriculum.{next(iter(wrong))}="):
        CurriculumSettings(**wrong)
