# SPDX-License-Identifier: Apache-2.0
"""The rules that turn treatment effects into a skill's status: candidate, active, retired, internalized.

Two rules (`UtilitySettings.decision`):

- `ema`, the paper's: the utility is an exponential moving average of Delta; a candidate is promoted when it exceeds a
  threshold after at least N_eval groups, any skill is retired when it stays below another. The thresholds are
  calibrated on skills without effect (benchmarks/skill_decisions), since a rule that is applied after every group
  promotes half of those when its thresholds are not calibrated.
- `sequential`: a candidate is promoted when the e-value against "its effect is at most `null_effect`" reaches

      1 / (fdr * gamma_k * (promotions so far + 1)),   gamma_k = 1 / (k (k + 1)) for the k-th skill ever tested

  This is e-LOND (Xu and Ramdas, arXiv 2311.06412) with later rejection allowed, as in online e-BH (Fischer, Xu and
  Ramdas, arXiv 2407.20683). When a useless skill k is promoted, promotions end up at least as many as the formula
  counts, so its share of them is at most fdr * gamma_k * e-value. The mean of that is at most fdr * gamma_k, and the
  gammas sum to 1. This needs one assumption: given all earlier observations, of other skills too, the next Delta of a
  useless skill has a mean of at most `null_effect`. Fresh rollouts for every group satisfy it.
  A candidate is retired when its effect is shown to be below `min_effect`, an active skill when its effect since
  promotion is shown to be negative.

Under either rule a candidate that is still undecided after `max_groups` is retired.

Two settings, off by default, change how an active skill ends, under every rule. They look at its newest paired groups
(`siri_verl.core.uptake`): `internalized_ratio` ends it as internalized, and `retire_confirmed` retires it only when the
newest groups alone show that its effect is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from siri_verl.core.confidence import log_e_value, log_e_value_below
from siri_verl.core.uptake import PairedGroup, Uptake, uptake
from siri_verl.failures import check_field
from siri_verl.named import check_name_or_path, named

CANDIDATE, ACTIVE, RETIRED, INTERNALIZED = "candidate", "active", "retired", "internalized"
STATUSES = (CANDIDATE, ACTIVE, RETIRED, INTERNALIZED)
ENDED = (RETIRED, INTERNALIZED)
"""Statuses that nothing follows."""


@dataclass
class UtilitySettings:
    """How treatment effects become decisions. Effects and utilities are in success units."""

    decision: str = "ema"
    """`ema`: the paper's rule. `sequential`: e-values, valid at any time of looking, with control of the
    false-discovery rate. Or a function of your own by its path, `module:function` (docs/extending.md)."""
    ema_alpha: float = 0.1
    """Weight of the newest Delta in the utility; the utility starts at 0. [default] calibrated:
    benchmarks/skill_decisions."""
    n_eval: int = 8
    """Groups a skill must have been tested in before the `ema` rule decides anything about it."""
    promote_above: float = 0.175
    """`ema`: a candidate whose utility exceeds this becomes active. [default] calibrated:
    benchmarks/skill_decisions."""
    retire_below: float = 0.0
    """`ema`: a skill whose utility stays below this is retired."""
    retire_after: int = 3
    """`ema`: for how many updates in a row."""
    max_groups: int = 64
    """Either rule: a candidate still undecided after this many groups is retired, so that others get their turn."""
    fdr: float = 0.1
    """`sequential`: bound on the expected share of useless skills among the promoted ones."""
    null_effect: float = 0.0
    """`sequential`: a skill is useless when its effect is at most this."""
    min_effect: float = 0.1
    """`sequential`: a candidate whose effect is shown to be smaller than this is retired."""
    retire_level: float = 0.1
    """`sequential`: chance, per skill, of retiring it although its effect is large enough."""
    interval_level: float = 0.95
    """Coverage of the intervals recorded with each decision."""
    shrinkage_groups: float = 8.0
    """A skill's effect is shrunk toward its task type's mean as if that mean came from this many groups. 0 turns it
    off."""
    retire_confirmed: bool = False
    """The rule retires an active skill only if the effect over its newest groups is shown to be below `fresh_effect`:
    a few bad groups do not end a skill that still helps."""
    internalized_ratio: float | None = None
    """An active skill becomes `internalized` when, over its newest groups, the plain arm's success is at least this
    ratio of the skill arm's and at least `internalized_success`, and the effect is shown to be below `fresh_effect`.
    null: never."""
    internalized_success: float = 0.5
    """Least success of the plain arm for that."""
    fresh_groups: int = 12
    """How many of the newest groups since the promotion those two look at. Of several groups of one task the newest
    counts."""
    fresh_effect: float = 0.1
    """The effect is shown to be gone when the upper end of the interval of its mean is below this."""
    fresh_level: float = 0.8
    """Coverage of that interval (Student's t, two-sided)."""

    def __post_init__(self) -> None:
        block, budget = "siri.utility", self.max_groups
        low, null = self.retire_below, self.null_effect
        check_name_or_path(f"{block}.decision", self.decision, RULES)
        check_field(self, f"{block}.ema_alpha", 0 < self.ema_alpha <= 1, "use a value in (0, 1]")
        check_field(self, f"{block}.n_eval", self.n_eval >= 1, "use at least 1")
        check_field(self, f"{block}.retire_after", self.retire_after >= 1, "use at least 1")
        check_field(self, f"{block}.max_groups", self.max_groups >= 1, "use at least 1")
        check_field(self, f"{block}.retire_below", -1 < low < 1, "use a value in (-1, 1)")
        check_field(self, f"{block}.promote_above", self.promote_above > low, f"use more than retire_below={low}")
        check_field(self, f"{block}.fdr", 0 < self.fdr < 1, "use a value in (0, 1)")
        check_field(self, f"{block}.retire_level", 0 < self.retire_level < 1, "use a value in (0, 1)")
        check_field(self, f"{block}.interval_level", 0 < self.interval_level < 1, "use a value in (0, 1)")
        check_field(self, f"{block}.null_effect", -1 < null < 1, "use a value in (-1, 1)")
        check_field(self, f"{block}.min_effect", null <= self.min_effect < 1, f"use a value in [{null}, 1)")
        check_field(self, f"{block}.shrinkage_groups", self.shrinkage_groups >= 0, "use 0 or more")
        ratio = self.internalized_ratio
        check_field(self, f"{block}.internalized_ratio", ratio is None or ratio > 0, "use null or a ratio > 0")
        success = 0 < self.internalized_success <= 1
        check_field(self, f"{block}.internalized_success", success, "use a share in (0, 1]")
        check_field(self, f"{block}.fresh_groups", self.fresh_groups >= 2, "use at least 2")
        check_field(self, f"{block}.fresh_effect", 0 < self.fresh_effect < 1, "use a value in (0, 1)")
        check_field(self, f"{block}.fresh_level", 0 < self.fresh_level < 1, "use a value in (0, 1)")
        if self.decision == "ema":
            # Delta is at most 1, so this is the highest utility a candidate can have before its budget is spent.
            highest = 1 - (1 - self.ema_alpha) ** budget
            fix = f"can never be met: max_groups={budget} comes first"
            check_field(self, f"{block}.n_eval", self.n_eval <= budget, fix)
            fix = (
                f"can never be met: with ema_alpha={self.ema_alpha} and max_groups={budget} a utility stays below "
                f"{highest:.4g} even if every group succeeds only with the skill"
            )
            check_field(self, f"{block}.promote_above", self.promote_above < highest, fix)
        elif self.decision == "sequential":
            reached = log_e_value([1.0] * budget, null) >= promotion_threshold(self, test_index=1, promotions=0)
            fix = (
                f"can never be met: with fdr={self.fdr} and null_effect={null} even a skill with Delta = 1 in every "
                "group needs more groups"
            )
            check_field(self, f"{block}.max_groups", reached, fix)


@dataclass
class SkillState:
    """What a rule knows about one skill.

    Attributes:
        skill_id: the skill.
        task_type: the kind of task it is for.
        status: `candidate`, `active`, `retired` or `internalized`.
        deltas: every Delta so far, in order.
        groups_seen: the groups of these Deltas: task and mean return of each arm.
        since: how many of them came before the present status.
        total: their sum.
        utility: exponential moving average of the deltas, from 0.
        below: updates in a row that left the utility below the retirement threshold.
        test_index: 1, 2, ... in order of first evidence; 0 while untested.
    """

    skill_id: str
    task_type: str
    status: str = CANDIDATE
    deltas: list[float] = field(default_factory=list)
    groups_seen: list[PairedGroup] = field(default_factory=list)
    since: int = 0
    total: float = 0.0
    utility: float = 0.0
    below: int = 0
    test_index: int = 0

    @property
    def groups(self) -> int:
        """Groups with a defined Delta."""
        return len(self.deltas)

    @property
    def mean(self) -> float:
        """Mean Delta, NaN without evidence."""
        return self.total / len(self.deltas) if self.deltas else math.nan

    def observe(self, delta: float, settings: UtilitySettings, test_index: int, group: PairedGroup) -> None:
        """Record one Delta and its group: u <- (1 - alpha) u + alpha Delta."""
        self.test_index = self.test_index or test_index
        self.deltas.append(delta)
        self.groups_seen.append(group)
        self.total += delta
        self.utility += settings.ema_alpha * (delta - self.utility)
        self.below = self.below + 1 if self.utility < settings.retire_below else 0


class Verdict(NamedTuple):
    """A new status for a skill: one sentence with the numbers compared, and the logs of the e-value and its threshold
    under `sequential`."""

    after: str
    reason: str
    e_value: float | None = None
    e_threshold: float | None = None


Rule = Callable[[SkillState, UtilitySettings, int], Verdict | None]
"""(state of a skill that is not retired, settings, promotions so far) -> its new status, if any."""


def ema_rule(state: SkillState, settings: UtilitySettings, promotions: int) -> Verdict | None:
    """The paper's rule: thresholds on the moving average of Delta."""
    s = settings
    if state.groups < s.n_eval:
        return None
    if state.status == CANDIDATE and state.utility > s.promote_above:
        return Verdict(ACTIVE, f"utility {state.utility:.3f} above {s.promote_above} after {state.groups} groups")
    if state.below >= s.retire_after:
        return Verdict(RETIRED, f"utility {state.utility:.3f}, below {s.retire_below} for {state.below} updates")
    return None


def sequential_rule(state: SkillState, settings: UtilitySettings, promotions: int) -> Verdict | None:
    """E-values of the evidence since the present status, against thresholds that control the false-discovery rate."""
    s, used = settings, state.deltas[state.since :]

    def verdict(after: str, claim: str, e_value: float, threshold: float) -> Verdict:
        reason = f"{claim}: log e-value {e_value:.2f} reached {threshold:.2f} after {len(used)} groups"
        return Verdict(after, reason, e_value, threshold)

    if state.status == CANDIDATE:
        e_value, threshold = log_e_value(used, s.null_effect), promotion_threshold(s, state.test_index, promotions)
        if e_value >= threshold:
            return verdict(ACTIVE, f"effect above {s.null_effect}", e_value, threshold)
    bound = s.min_effect if state.status == CANDIDATE else min(0.0, s.null_effect)
    e_value, threshold = log_e_value_below(used, bound), -math.log(s.retire_level)
    if e_value >= threshold:
        return verdict(RETIRED, f"effect below {bound}", e_value, threshold)
    return None


def promotion_threshold(settings: UtilitySettings, test_index: int, promotions: int) -> float:
    """log of the e-value at which `sequential` promotes the `test_index`-th skill tested, after so many promotions."""
    share = 1.0 / (test_index * (test_index + 1))
    return -math.log(settings.fdr * share * (promotions + 1))


RULES: dict[str, Rule] = {"ema": ema_rule, "sequential": sequential_rule}
"""Decision rules by the name of `siri.utility.decision`."""


def decide(state: SkillState, settings: UtilitySettings, promotions: int) -> Verdict | None:
    """The verdict of the chosen rule, of the budget of groups, and of the newest groups; None leaves the status."""
    if state.status in ENDED:
        return None
    fresh = fresh_uptake(state, settings)
    if fresh is not None and internalized(fresh, settings):
        return Verdict(
            INTERNALIZED,
            f"plain arm {fresh.plain:.3f}, skill arm {fresh.skill:.3f} over the newest {fresh.groups} tasks: ratio "
            f"{fresh.ratio:.2f} reached {settings.internalized_ratio}, effect below {settings.fresh_effect}",
        )
    verdict = named("siri.utility.decision", settings.decision, RULES)(state, settings, promotions)
    if verdict is not None and state.status == ACTIVE and settings.retire_confirmed:
        return verdict if fresh is not None and fresh.high < settings.fresh_effect else None
    if verdict is None and state.status == CANDIDATE and state.groups >= settings.max_groups:
        return Verdict(RETIRED, f"still undecided after {state.groups} groups (max_groups)")
    return verdict


def fresh_uptake(state: SkillState, settings: UtilitySettings) -> Uptake | None:
    """The arms over an active skill's newest groups since its promotion; None where no setting asks for them, or there
    are too few."""
    if state.status != ACTIVE or not (settings.retire_confirmed or settings.internalized_ratio is not None):
        return None
    return uptake(state.groups_seen[state.since :], settings.fresh_groups, settings.fresh_level)


def internalized(fresh: Uptake, settings: UtilitySettings) -> bool:
    """Whether the plain policy has taken over what the skill brought."""
    ratio = settings.internalized_ratio
    return (
        ratio is not None
        and fresh.high < settings.fresh_effect
        and fresh.plain >= settings.internalized_success
        and fresh.plain >= ratio * fresh.skill
    )
