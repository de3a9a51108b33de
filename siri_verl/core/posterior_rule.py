# SPDX-License-Identifier: Apache-2.0
"""Bayesian-Agent's belief about a skill: a Beta posterior of success when it is shown, from a uniform prior.

    p = (1 + successes) / (2 + successes + failures)

A skill is in use from its first group on, the one with the highest p first, and is given up, to be written anew, after
at least 4 failures with p < .45. Successes and failures are episodes of the skill arm; a return between 0 and 1 counts
in part. Source: DataArcTech/Bayesian-Agent 8c895ba.
"""

from __future__ import annotations

import math

from siri_verl.core.rules import ACTIVE, CANDIDATE, RETIRED, SkillState, UtilitySettings, Verdict

POSTERIOR = "siri_verl.core.posterior_rule:posterior_rule"
"""The rule's name in `siri.utility.decision`."""
LEAST_FAILURES, LEAST_BELIEF = 4, 0.45


def outcomes(state: SkillState) -> tuple[float, float]:
    """(successes, failures) of the episodes that showed the skill."""
    successes = math.fsum(group.skill * group.skill_n for group in state.groups_seen)
    return successes, sum(group.skill_n for group in state.groups_seen) - successes


def belief(state: SkillState) -> float:
    """The posterior mean of success; .5 without evidence."""
    successes, failures = outcomes(state)
    return (1 + successes) / (2 + successes + failures)


def posterior_rule(state: SkillState, settings: UtilitySettings, promotions: int) -> Verdict | None:
    """The posterior decides; every skill is used until it is given up."""
    successes, failures = outcomes(state)
    p = belief(state)
    if failures >= LEAST_FAILURES and p < LEAST_BELIEF:
        return Verdict(RETIRED, f"belief {p:.3f} below {LEAST_BELIEF} after {failures:.0f} failures")
    if state.status == CANDIDATE:
        return Verdict(ACTIVE, f"in use, belief {p:.3f}")
    return None
