# SPDX-License-Identifier: Apache-2.0
"""SLIM's life cycle of skills: used untested, audited, retired when no longer useful, extended where nothing covers.

Every 5 training steps a skill is audited over the groups that showed it since the last audit:

    u = success where it was shown - success on the same tasks without it,     U <- .9 U + .1 u,   U = 0 at first

- It is retired when U < .001 in 3 audits in a row and it was used in at least 30 episodes.
- More skills are written for its task type when it succeeds in less than .40 of the episodes, has failed in at least
  20, has U < .03, and no other active skill of the type has U >= .03, which would cover it.

There every audit plays the tasks once more without the skill; here u is the mean of Delta, whose plain arm has already
played them. Source: ejhshen/SLIM ab6fa89.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from siri_verl.core.rules import ACTIVE, CANDIDATE, RETIRED, SkillState, UtilitySettings, Verdict
from siri_verl.core.uptake import PairedGroup

AUDIT_STEPS = 5
DECAY = 0.9
RETIRE_BELOW, RETIRE_AUDITS, RETIRE_USES = 0.001, 3, 30
COVERS_FROM = 0.03
EXPAND_BELOW, EXPAND_FAILURES = 0.40, 20


@dataclass(frozen=True)
class Audit:
    """A skill after its audits.

    Attributes:
        audits: how many.
        utility: U.
        low: audits in a row that left U below the threshold of retirement.
        uses: episodes that showed the skill.
        failures: how many of them failed.
        success: success of those of the last audit; NaN without one.
    """

    audits: int
    utility: float
    low: int
    uses: float
    failures: float
    success: float


def audited(groups: Sequence[PairedGroup], step: int) -> Audit:
    """The audits of the groups that came before the audit interval that a step is in.

    Args:
        groups: that showed the skill, in order.
        step: training step, counted from 1.
    """
    windows: dict[int, list[PairedGroup]] = {}
    for group in groups:
        windows.setdefault((group.step - 1) // AUDIT_STEPS, []).append(group)
    utility, low, uses, failures, success = 0.0, 0, 0.0, 0.0, math.nan
    past = [members for window, members in sorted(windows.items()) if window < (step - 1) // AUDIT_STEPS]
    for members in past:
        utility = DECAY * utility + (1 - DECAY) * math.fsum(g.skill - g.plain for g in members) / len(members)
        low = low + 1 if utility < RETIRE_BELOW else 0
        uses += sum(g.skill_n for g in members)
        failures += math.fsum((1 - g.skill) * g.skill_n for g in members)
        success = math.fsum(g.skill * g.skill_n for g in members) / sum(g.skill_n for g in members)
    return Audit(len(past), utility, low, uses, failures, success)


def slim_rule(state: SkillState, settings: UtilitySettings, promotions: int) -> Verdict | None:
    """A skill is active from its first group on, and retired by its audits."""
    if state.status == CANDIDATE:
        return Verdict(ACTIVE, "in use: SLIM tests no skill beforehand")
    found = audited(state.groups_seen, state.groups_seen[-1].step)
    if found.low >= RETIRE_AUDITS and found.uses >= RETIRE_USES:
        reason = f"U {found.utility:.4f} below {RETIRE_BELOW} in {found.low} audits, {found.uses:.0f} uses"
        return Verdict(RETIRED, reason)
    return None


def asks_for_skills(skills: Iterable[SkillState], step: int) -> bool:
    """Whether skills are to be written for a task type: it has none that is not retired, or one needs more beside it.

    Args:
        skills: of the task type.
        step: training step.
    """
    living = [state for state in skills if state.status in (CANDIDATE, ACTIVE)]
    if not living:
        return True
    audits = [audited(state.groups_seen, step) for state in living if state.status == ACTIVE]
    if any(found.utility >= COVERS_FROM for found in audits):
        return False
    return any(found.success < EXPAND_BELOW and found.failures >= EXPAND_FAILURES for found in audits)
