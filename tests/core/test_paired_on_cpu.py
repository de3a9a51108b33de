# SPDX-License-Identifier: Apache-2.0
"""The paired effect: what it equals, what it does not depend on, and that its interval covers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from siri_verl.core.statistics import BOUNDED_INTERVAL, NO_INTERVAL, T_INTERVAL, paired_effect

outcome = st.sampled_from([0.0, 0.25, 1.0])
pairs = st.lists(st.tuples(st.sampled_from("abcdef"), outcome, outcome), min_size=1, max_size=40)


def columns(listed):
    return [list(column) for column in zip(*listed, strict=True)]


def numbers(effect):
    return [effect.plain, effect.skill, effect.effect, effect.low, effect.high]


def test_pairs_of_distinct_tasks_give_the_usual_paired_t_interval():
    plain, skill = [0, 1, 0, 0, 1, 0, 1, 0], [1, 1, 0, 1, 1, 0, 0, 1]
    effect = paired_effect(range(8), plain, skill)
    expected = stats.ttest_rel(skill, plain).confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))
    assert (effect.plain, effect.skill, effect.effect) == pytest.approx((3 / 8, 5 / 8, 1 / 4))
    assert (effect.pairs, effect.tasks, effect.method) == (8, 8, T_INTERVAL)


def test_a_task_counts_once_however_often_it_was_played():
    effect = paired_effect(["a"] * 9 + ["b"], [0] * 10, [1] * 9 + [0])
    assert effect.effect == 0.5
    assert effect.tasks == 2
    assert effect.pairs == 10
    # Nine lucky pairs of one task are one observation, not nine.
    assert effect.low < 0 < effect.high


@settings(deadline=None)
@given(pairs)
def test_repeating_every_pair_adds_no_certainty(listed):
    once, thrice = paired_effect(*columns(listed)), paired_effect(*columns(listed * 3))
    assert numbers(thrice) == pytest.approx(numbers(once))
    assert thrice.tasks == once.tasks and thrice.pairs == 3 * once.pairs


@settings(deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(listed, random):
    shuffled = random.sample(listed, len(listed))
    assert numbers(paired_effect(*columns(shuffled))) == pytest.approx(numbers(paired_effect(*columns(listed))))


@settings(deadline=None)
@given(pairs)
def test_exchanging_the_arms_turns_the_effect_round(listed):
    task, plain, skill = columns(listed)
    one, other = paired_effect(task, plain, skill), paired_effect(task, skill, plain)
    assert (one.effect, one.low, one.high) == pytest.approx((-other.effect, -other.high, -other.low), abs=1e-9)
    assert one.positive == other.negative


@settings(deadline=None)
@given(pairs, st.floats(0.5, 0.9), st.floats(0.91, 0.999))
def test_the_interval_holds_the_effect_stays_in_range_and_grows_with_its_level(listed, low, high):
    narrow, wide = (paired_effect(*columns(listed), level=level) for level in (low, high))
    assert -1 <= wide.low <= narrow.low <= narrow.effect + 1e-9
    assert narrow.effect - 1e-9 <= narrow.high <= wide.high <= 1
    assert narrow.effect == pytest.approx(narrow.skill - narrow.plain)


def test_tasks_that_all_agree_are_no_certainty():
    """A t-interval would be a point here."""
    for skill, sign in ((1.0, 1), (0.0, 0)):
        few, many = (paired_effect(range(n), [0.0] * n, [skill] * n) for n in (4, 64))
        assert few.method == many.method == BOUNDED_INTERVAL
        assert many.high - many.low > 0.02 and few.high - few.low > many.high - many.low
        assert many.positive == bool(sign)
    assert not paired_effect(["a"] * 64, [0.0] * 64, [1.0] * 64).positive


def test_without_pairs_there_are_no_numbers():
    effect = paired_effect([], [], [])
    assert effect.method == NO_INTERVAL and effect.pairs == effect.tasks == 0
    assert all(math.isnan(x) for x in numbers(effect))
    assert not effect.positive
    assert not effect.negative


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((["a"], [0.0, 1.0], [1.0]), "1 tasks, 2 plain and 1 skill"),
        ((["a"], [1.5], [1.0]), r"plain\[0\]=1.5"),
        ((["a", "b"], [1, 1], [1, math.nan]), r"skill\[1\]=nan"),
        ((["a"], [1.0], [1.0], 1.0), "level=1.0"),
    ],
)
def test_wrong_input_is_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        paired_effect(*arguments)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_interval_covers_where_tasks_differ_and_repeat(seed):
    """16 tasks of unlike difficulty and effect, 4 pairs each: 95 % intervals cover in about 95 % of 600 worlds, and
    intervals that take pairs for independent do not."""
    rng = np.random.default_rng(seed)
    worlds, tasks, repeats = 600, 16, 4
    base = rng.beta(1.0, 1.0, size=(worlds, tasks)) * 0.5
    gain = rng.choice([0.0, 0.5], size=(worlds, tasks))
    draw = rng.random((2, worlds, tasks, repeats))
    plain = draw[0] < base[..., None]
    skill = draw[1] < (base + gain)[..., None]
    names = np.repeat(np.arange(tasks), repeats)
    found = [paired_effect(names.tolist(), p.ravel(), s.ravel()) for p, s in zip(plain, skill, strict=True)]
    covered = np.mean([effect.low <= 0.25 <= effect.high for effect in found])
    assert 0.92 <= covered <= 0.98
    naive = [paired_effect(range(names.size), p.ravel(), s.ravel()) for p, s in zip(plain, skill, strict=True)]
    assert np.mean([effect.low <= 0.25 <= effect.high for effect in naive]) < covered
