# SPDX-License-Identifier: Apache-2.0
"""The e-values are fair bets, the confidence sequence covers at all times, and both are what their formulas say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.confidence import STAKES, confidence_sequence, log_e_value, log_e_value_below

QUARTERS = st.lists(st.integers(-4, 4).map(lambda k: k / 4), max_size=40)
BOUNDS = st.floats(-0.9, 0.9)


@settings(max_examples=100, deadline=None)
@given(QUARTERS, BOUNDS)
def test_e_value_is_the_mean_wealth_over_stakes(deltas, bound):
    wealth = [math.prod(1 + c * (x - bound) / (1 + bound) for x in deltas) for c in STAKES]
    assert log_e_value(deltas, bound) == pytest.approx(math.log(sum(wealth) / len(wealth)), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=9, max_size=9), st.integers(0, 3))
def test_one_more_observation_never_pays_on_average_under_the_null(weights, rounds):
    """Exactly, over every distribution on the grid of a 4-against-4 gap with mean at the bound."""
    grid = np.arange(-4, 5) / 4
    law = np.asarray(weights) / sum(weights)
    bound = float(law @ grid)
    if not -0.95 < bound < 0.95:
        return
    past = [0.5, -0.25, 0.75][:rounds]
    after = law @ np.exp([log_e_value([*past, x], bound) for x in grid])
    assert after == pytest.approx(math.exp(log_e_value(past, bound)), rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(QUARTERS, BOUNDS, st.randoms(use_true_random=False))
def test_order_of_the_evidence_does_not_matter(deltas, bound, random):
    shuffled = deltas[:]
    random.shuffle(shuffled)
    assert log_e_value(shuffled, bound) == pytest.approx(log_e_value(deltas, bound), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(QUARTERS, st.integers(0, 39), BOUNDS)
def test_larger_effects_are_more_evidence(deltas, place, bound):
    if place < len(deltas):
        larger = deltas[:]
        larger[place] = min(1.0, larger[place] + 0.25)
        assert log_e_value(larger, bound) >= log_e_value(deltas, bound) - 1e-12
        assert log_e_value_below(larger, bound) <= log_e_value_below(deltas, bound) + 1e-12


@settings(max_examples=100, deadline=None)
@given(QUARTERS, st.sampled_from([0.5, 0.9, 0.95]))
def test_interval_is_where_neither_side_is_refuted(deltas, level):
    low, high = confidence_sequence(deltas, level)
    assert -1 <= low <= high <= 1
    threshold = math.log(2 / (1 - level))
    for m in np.linspace(-0.99, 0.99, 23):
        refuted = log_e_value(deltas, m) >= threshold or log_e_value_below(deltas, m) >= threshold
        if min(abs(m - low), abs(m - high)) > 1e-6:
            assert refuted == (not low <= m <= high)


def test_interval_mirrors_with_the_sign_and_narrows_with_evidence():
    deltas = [0.25, 0.5, 0.0, 0.75, 0.25]
    low, high = confidence_sequence(deltas)
    assert confidence_sequence([-x for x in deltas]) == (-high, -low)
    more = confidence_sequence(deltas * 20)
    assert low < more[0] < 0.35 < more[1] < high
    assert confidence_sequence([]) == (-1.0, 1.0)


@pytest.mark.parametrize("base, effect", [(0.5, 0.0), (0.2, 0.2), (0.05, 0.0)])
def test_covers_at_all_times_at_once(base, effect):
    """600 skills, looked at after each of 60 groups of 4 against 4: at most 5 % may ever be missed (fixed seed)."""
    rng = np.random.default_rng(7)
    gaps = (rng.binomial(4, base + effect, (600, 60)) - rng.binomial(4, base, (600, 60))) / 4
    threshold = math.log(2 / 0.05)
    missed = 0
    for row in gaps:
        ratio = np.log1p(STAKES[:, None] * (row - effect) / (1 + effect)).cumsum(axis=1)
        other = np.log1p(STAKES[:, None] * (effect - row) / (1 - effect)).cumsum(axis=1)
        ever = max(np.log(np.exp(ratio).mean(axis=0)).max(), np.log(np.exp(other).mean(axis=0)).max())
        missed += ever >= threshold
    assert missed / 600 <= 0.05


@pytest.mark.parametrize("deltas", [[1.2], [0.1, float("nan")], [float("inf")]])
def test_observations_outside_the_unit_are_refused(deltas):
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\]"):
        log_e_value(deltas, 0.0)


def test_bounds_and_levels_are_checked():
    with pytest.raises(ValueError, match="bound 1.0"):
        log_e_value([0.1], 1.0)
    with pytest.raises(ValueError, match="level=1.0"):
        confidence_sequence([0.1], 1.0)
