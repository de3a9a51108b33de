# SPDX-License-Identifier: Apache-2.0
"""The rules of SLIM and of Bayesian-Agent on hand-made histories."""

import math

import pytest

from siri_verl.core.decisions import DecisionBook
from siri_verl.core.posterior_rule import belief, outcomes
from siri_verl.core.rules import ACTIVE, CANDIDATE, RETIRED, SkillState, UtilitySettings
from siri_verl.core.slim_rule import asks_for_skills, audited
from siri_verl.core.uptake import PairedGroup


def group(step, skill, plain, size=4):
    return PairedGroup(f"t{step}", plain, skill, step, size)


def history(book, skill_id, *groups):
    """The decisions that follow from groups, by step."""
    book.add(skill_id, "kitchen")
    found = {}
    for g in groups:
        decision = book.record(skill_id, g.skill - g.plain, g.step, g)
        if decision is not None:
            found[g.step] = decision.after
    return found


# ---- SLIM ------------------------------------------------------------------------------------------------------------


def test_an_audit_averages_five_steps_and_moves_the_utility_by_a_tenth():
    groups = [group(1, 1.0, 0.0), group(5, 0.5, 0.5), group(6, 0.25, 0.5), group(11, 1.0, 0.0)]
    assert audited(groups, 5).audits == 0, "the first five steps are not over"
    first, second = audited(groups, 6), audited(groups, 11)
    assert first.utility == pytest.approx(0.1 * 0.5) and first.uses == 8 and first.success == 0.75
    assert second.utility == pytest.approx(0.9 * 0.05 + 0.1 * -0.25)
    assert (second.audits, second.low, second.uses, second.failures) == (2, 0, 12, 2 + 3)
    assert second.success == 0.25


def test_slim_uses_a_skill_at_once_and_retires_it_after_three_low_audits_and_thirty_uses():
    book = DecisionBook(UtilitySettings(decision="siri_verl.core.slim_rule:slim_rule"))
    assert history(book, "s1", *(group(step, 0.25, 0.5) for step in range(1, 22))) == {1: ACTIVE, 16: RETIRED}
    # few uses: three low audits by step 16, 30 uses only later
    rare = [group(step, 0.25, 0.5) for step in range(1, 60, 5)]
    assert history(book, "s2", *rare) == {1: ACTIVE, 41: RETIRED}, "8 audits of 4 episodes"
    # a useful one stays, though it was low in between
    useful = [group(step, 1.0 if step % 10 > 5 else 0.4, 0.5) for step in range(1, 60)]
    assert history(book, "s3", *useful) == {1: ACTIVE}


def state(*groups, status=ACTIVE):
    return SkillState("s", "kitchen", status=status, groups_seen=list(groups))


def test_slim_asks_for_skills_where_none_is_left_or_one_fails_and_nothing_covers():
    failing = state(*(group(step, 0.25, 0.25) for step in range(1, 8)))  # 7 groups of 4: 21 failures, U = 0
    assert asks_for_skills([], 1) and asks_for_skills([state(status=RETIRED)], 1)
    assert not asks_for_skills([state(status=CANDIDATE)], 1), "one waits to be used"
    assert not asks_for_skills([failing], 6), "five groups, 15 failures"
    assert asks_for_skills([failing], 11)
    covering = state(*(group(step, 0.9, 0.1) for step in range(1, 8)))
    assert audited(covering.groups_seen, 11).utility > 0.03
    assert not asks_for_skills([failing, covering], 11)
    assert asks_for_skills([failing, state(*covering.groups_seen, status=RETIRED)], 11), "only active skills cover"
    good_enough = state(*(group(step, 0.5, 0.5, 8) for step in range(1, 12)))
    assert not asks_for_skills([good_enough], 16), "it fails often, and succeeds in half of the episodes"


def test_without_an_audit_there_is_no_success():
    assert math.isnan(audited([], 3).success)


# ---- Bayesian-Agent --------------------------------------------------------------------------------------------------


def test_the_belief_is_a_beta_posterior_from_a_uniform_prior():
    assert belief(state()) == 0.5
    seen = state(group(1, 1.0, 0.0, 4), group(2, 0.25, 0.0, 4))
    assert outcomes(seen) == (5.0, 3.0) and belief(seen) == pytest.approx(6 / 10)


@pytest.mark.parametrize(
    "groups, expected",
    [
        ([(1, 0.0, 3)], {1: ACTIVE}),  # p = .2, but three failures
        ([(1, 0.0, 4)], {1: RETIRED}),  # p = 1/6
        ([(1, 0.5, 8)], {1: ACTIVE}),  # p = .5
        ([(1, 0.75, 4), (2, 0.0, 4)], {1: ACTIVE, 2: RETIRED}),  # 3 and 5: p = .4
        ([(1, 1.0, 4), (2, 0.0, 4)], {1: ACTIVE}),  # 4 and 4: p = .5
    ],
)
def test_a_skill_is_given_up_after_four_failures_below_45_percent(groups, expected):
    book = DecisionBook(UtilitySettings(decision="siri_verl.core.posterior_rule:posterior_rule"))
    assert history(book, "s1", *(group(step, skill, 0.5, size) for step, skill, size in groups)) == expected


def test_the_most_believed_skill_comes_first():
    book = DecisionBook(UtilitySettings(decision="siri_verl.core.posterior_rule:posterior_rule"))
    history(book, "often", *(group(step, 0.75, 0.0) for step in range(1, 6)))  # 15 of 20
    history(book, "once", group(1, 0.75, 0.75, 4))  # 3 of 4
    assert belief(book.state("often")) > belief(book.state("once"))
    assert book.best(["once", "often"]) == "often" and book.utility("often") == pytest.approx(16 / 22)
