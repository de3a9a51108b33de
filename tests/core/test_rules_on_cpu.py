# SPDX-License-Identifier: Apache-2.0
"""Skills' lives under both rules: what each rule says, its error rates, replay, and settings that cannot work."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.confidence import log_e_value
from siri_verl.core.decisions import Decision, DecisionBook
from siri_verl.core.rules import UtilitySettings, promotion_threshold

QUARTERS = st.lists(st.integers(-4, 4).map(lambda k: k / 4), min_size=1, max_size=80)
RULES = st.sampled_from(["ema", "sequential"])


def book_of(*skills, **options):
    book = DecisionBook(UtilitySettings(**options))
    for skill in skills or ("s",):
        book.add(skill, "type")
    return book


def run(deltas, skill="s", book=None, **options):
    book = book or book_of(skill, **options)
    return book, [d for i, delta in enumerate(deltas) if (d := book.record(skill, delta, i)) is not None]


@settings(max_examples=200, deadline=None)
@given(QUARTERS, st.floats(0.05, 1))
def test_utility_is_the_moving_average_from_zero(deltas, alpha):
    book = book_of(ema_alpha=alpha, promote_above=0.01)
    for i, delta in enumerate(deltas):
        book.record("s", delta, i)
    closed_form = sum(alpha * (1 - alpha) ** (len(deltas) - 1 - i) * delta for i, delta in enumerate(deltas))
    assert book.utility("s") == pytest.approx(closed_form, abs=1e-12)
    assert min(0, *deltas) <= book.utility("s") <= max(0, *deltas)


@settings(max_examples=300, deadline=None)
@given(QUARTERS, st.integers(1, 12), st.floats(0.02, 0.4), st.integers(1, 4))
def test_ema_rule_is_the_stated_one(deltas, n_eval, above, after):
    """An independent walk through the rule's text, step by step."""
    _, got = run(deltas, n_eval=n_eval, promote_above=above, retire_after=after, max_groups=40, ema_alpha=0.3)
    u, below, status, expected = 0.0, 0, "candidate", []
    for i, delta in enumerate(deltas):
        u = 0.7 * u + 0.3 * delta
        below = below + 1 if u < 0 else 0
        new = None
        if status == "candidate" and i + 1 >= n_eval and u > above:
            new = "active"
        elif status != "retired" and i + 1 >= n_eval and below >= after:
            new = "retired"
        elif status == "candidate" and i + 1 >= 40:
            new = "retired"
        if new:
            expected.append((i, status, new))
            status, below = new, 0
    assert [(d.step, d.before, d.after) for d in got] == expected


@settings(max_examples=200, deadline=None)
@given(QUARTERS, RULES)
def test_a_life_only_moves_forward(deltas, rule):
    book, decisions = run(deltas, decision=rule)
    chain = ["candidate", *(d.after for d in decisions)]
    assert chain in (
        ["candidate"],
        ["candidate", "active"],
        ["candidate", "retired"],
        ["candidate", "active", "retired"],
    )
    assert [d.before for d in decisions] == chain[:-1]
    assert book.state("s").status == chain[-1]


@settings(max_examples=100, deadline=None)
@given(QUARTERS, RULES)
def test_no_skill_is_promoted_without_a_positive_mean(deltas, rule):
    _, decisions = run([min(delta, 0.0) for delta in deltas], decision=rule)
    assert all(d.after == "retired" for d in decisions)


@settings(max_examples=100, deadline=None)
@given(QUARTERS, RULES)
def test_decisions_carry_their_evidence(deltas, rule):
    _, decisions = run(deltas, decision=rule)
    start = 0
    for d in decisions:
        used = deltas[start : d.step + 1]
        assert d.groups == len(used) and d.mean == pytest.approx(sum(used) / len(used))
        assert d.low - 1e-9 <= d.mean <= d.high + 1e-9
        assert d.rule == rule and d.reason
        assert Decision.from_dict(d.to_dict()) == d
        if d.e_value is not None:
            assert d.e_value >= d.e_threshold
        start = d.step + 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-4, 4).map(lambda k: k / 4)), max_size=150), RULES)
def test_replay_of_evidence_and_decisions_gives_the_same_book(events, rule):
    live, replayed = book_of(*"abc", decision=rule), book_of(*"abc", decision=rule)
    half = len(events) // 2
    for i, (skill, delta) in enumerate(events[:half]):
        decision = live.record(skill, delta, i)
        replayed.observe(skill, delta)
        if decision:
            replayed.apply(decision)
    assert replayed.states == live.states and replayed.promotions == live.promotions
    rest = [[b.record(skill, delta, i) for i, (skill, delta) in enumerate(events[half:])] for b in (live, replayed)]
    assert rest[0] == rest[1], "a run that was stopped and resumed decides the same"


@settings(max_examples=100, deadline=None)
@given(QUARTERS)
def test_sequential_promotion_compares_with_the_stated_threshold(deltas):
    book, decisions = run(deltas, decision="sequential", fdr=0.2)
    for d in decisions:
        if d.after == "active":
            assert d.e_value == pytest.approx(log_e_value(deltas[: d.step + 1], 0.0))
            assert d.e_threshold == pytest.approx(math.log(1 / (0.2 * 0.5 * 1)))


def test_threshold_rises_with_every_skill_tested_and_falls_with_every_promotion():
    book = book_of("a", "b", decision="sequential")
    first, second = (promotion_threshold(book.settings, k, book.promotions) for k in (1, 2))
    assert second - first == pytest.approx(math.log(3))
    run([1.0] * 20, "a", book)
    assert book.promotions == 1
    assert promotion_threshold(book.settings, 2, book.promotions) == pytest.approx(second - math.log(2))


def test_test_index_counts_tested_skills_in_order_of_first_evidence():
    book = book_of("a", "b", "c")
    for skill in "cac":
        book.record(skill, 0.0, 0)
    assert [book.state(s).test_index for s in "abc"] == [2, 0, 1]


def gaps(rng, base, effect, groups):
    return (rng.binomial(4, base + effect, groups) - rng.binomial(4, base, groups)) / 4


def test_false_promotions_of_the_calibrated_ema_rule():
    """Default settings, useless skills, 4 against 4 at success .5, the worst case: at most 10 % promoted (fixed seed,
    400 skills). The demo presets: tests/benchmarks/test_skill_decisions_on_cpu.py."""
    rng = np.random.default_rng(3)
    promoted = sum(any(d.after == "active" for d in run(gaps(rng, 0.5, 0.0, 64))[1]) for _ in range(400))
    assert promoted / 400 <= 0.12


def test_careless_thresholds_promote_half_of_all_useless_skills():
    rng = np.random.default_rng(4)
    careless = dict(ema_alpha=0.3, n_eval=3, promote_above=1e-9)
    promoted = sum(any(d.after == "active" for d in run(gaps(rng, 0.5, 0.0, 64), **careless)[1]) for _ in range(200))
    assert promoted / 200 > 0.4


def test_false_discovery_rate_of_the_sequential_rule():
    """60 runs of 20 skills, half of them useless, tested in turn: false share of promotions at most fdr = .1."""
    rng = np.random.default_rng(5)
    shares, found = [], 0
    for _ in range(60):
        book = book_of(*map(str, range(20)), decision="sequential")
        useless = rng.random(20) < 0.5
        for i in rng.permutation(20):
            run(gaps(rng, 0.3, 0.0 if useless[i] else 0.3, 50), str(i), book)
        # Delta after promotion may retire a skill; a discovery stays one.
        promoted = [i for i in range(20) if book.state(str(i)).since and book.state(str(i)).status == "active"]
        shares.append(sum(useless[i] for i in promoted) / max(len(promoted), 1))
        found += len(promoted)
    assert np.mean(shares) <= 0.1
    assert found / 60 > 5, "the rule has power as well"


def test_an_effect_of_a_fifth_is_found_within_some_forty_groups():
    rng = np.random.default_rng(6)
    needed = []
    for _ in range(100):
        _, decisions = run(gaps(rng, 0.2, 0.2, 64), decision="sequential")
        needed.append(decisions[0].groups if decisions and decisions[0].after == "active" else 65)
    assert np.median(needed) <= 40


def test_active_skills_are_retired_on_evidence_after_promotion_alone():
    book = book_of(decision="sequential")
    promoted = next(d for i in range(20) if (d := book.record("s", 1.0, i)))
    retired = next(d for i in range(20, 40) if (d := book.record("s", -1.0, i)))
    assert (promoted.after, retired.after) == ("active", "retired")
    assert promoted.mean == 1.0
    assert retired.mean == -1.0
    assert retired.groups < 10


def test_undecided_candidates_are_retired_when_their_budget_is_spent():
    for rule in ("ema", "sequential"):
        _, decisions = run([0.25, -0.25] * 20, decision=rule, max_groups=30, min_effect=0.0, retire_below=-0.5)
        assert [(d.groups, d.after) for d in decisions] == [(30, "retired")]
        assert "max_groups" in decisions[0].reason


def test_evidence_about_a_retired_skill_is_kept_and_changes_nothing():
    book, _ = run([-1.0] * 10)
    assert book.state("s").status == "retired"
    assert book.record("s", 1.0, 11) is None and book.state("s").groups == 11


def test_shrinkage_pulls_toward_the_type_and_lets_evidence_win():
    book = DecisionBook(UtilitySettings(shrinkage_groups=8, max_groups=1000, n_eval=1000, ema_alpha=0.05))
    for name, kind in (("good", "a"), ("peer", "a"), ("fresh", "a"), ("other", "b")):
        book.add(name, kind)
    for _ in range(40):
        book.observe("peer", 0.5)
        book.observe("other", -0.5)
    book.observe("good", 1.0)
    assert 0 < book.shrunken_effect("fresh") < 0.5, "untested: its type's mean"
    assert book.shrunken_effect("fresh") < book.shrunken_effect("good") < 1.0
    for _ in range(400):
        book.observe("good", 1.0)
    assert book.shrunken_effect("good") > 0.97
    assert book.shrunken_effect("other") < 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1, 1)), max_size=60), st.sampled_from([0.0, 2.0, 8.0]))
def test_shrunken_effects_stay_between_the_evidence_and_zero(events, groups):
    book = DecisionBook(UtilitySettings(shrinkage_groups=groups))
    for name, kind in (("a", "x"), ("b", "x"), ("c", "y")):
        book.add(name, kind)
    for skill, delta in events:
        book.observe(skill, delta)
    seen = [0.0, *(delta for _, delta in events)]
    for name in "abc":
        assert min(seen) - 1e-9 <= book.shrunken_effect(name) <= max(seen) + 1e-9


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(decision="bayes"), "decision='bayes'"),
        (dict(ema_alpha=0.0), "ema_alpha=0.0"),
        (dict(promote_above=1.0), "promote_above=1.0: can never be met"),
        (dict(promote_above=0.5, ema_alpha=0.01), "promote_above=0.5: can never be met"),
        (dict(n_eval=70), "n_eval=70: can never be met"),
        (dict(promote_above=-0.1), "promote_above=-0.1: use more than retire_below"),
        (dict(min_effect=-0.1), "min_effect=-0.1"),
        (dict(fdr=0.0), "fdr=0.0"),
        (dict(shrinkage_groups=-1), "shrinkage_groups=-1"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        UtilitySettings(**options)


def test_a_budget_too_small_for_the_sequential_rule_is_refused():
    with pytest.raises(ValueError, match="max_groups=3: can never be met"):
        book_of(decision="sequential", max_groups=3)


def test_wrong_calls_are_named():
    book = book_of("s")
    with pytest.raises(ValueError, match="'s' is already in it"):
        book.add("s", "type")
    with pytest.raises(ValueError, match="unknown skill 'x'"):
        book.record("x", 0.0, 0)
    with pytest.raises(ValueError, match="Delta nan of skill 's'"):
        book.record("s", float("nan"), 0)
    with pytest.raises(ValueError, match="Delta 10.0 of skill 's'"):
        book.record("s", 10.0, 0)
    decision = run([1.0] * 10, "t")[1][0]
    with pytest.raises(ValueError, match="unknown skill 't'"):
        book.apply(decision)
    with pytest.raises(ValueError, match="missing or unknown fields surprise"):
        Decision.from_dict({**decision.to_dict(), "surprise": 1})
