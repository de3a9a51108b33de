# SPDX-License-Identifier: Apache-2.0
"""From treatment effects to a skill's life: candidate, active, retired.

Two rules (`UtilitySettings.decision`):

- `ema`, the paper's: the utility is an exponential moving average of Delta; a candidate is promoted when it exceeds a
  threshold after at least N_eval groups, any skill is retired when it stays below another. Thresholds are calibrated
  on useless skills (benchmarks/skill_decisions), since a rule that looks after every group promotes half of them with
  careless ones.
- `sequential`: a candidate is promoted when the e-value against "its effect is at most `null_effect`" reaches

      1 / (fdr * gamma_k * (promotions so far + 1)),   gamma_k = 1 / (k (k + 1)) for the k-th skill ever tested

  This is e-LOND (Xu and Ramdas, arXiv 2311.06412) with later rejection allowed, as in online e-BH (Fischer, Xu and
  Ramdas, arXiv 2407.20683). When a useless skill k is promoted, promotions end up at least as many as the formula
  counts, so its share of them is at most fdr * gamma_k * e-value. The mean of that is at most fdr * gamma_k, and the
  gammas sum to 1. This needs one thing: given all that was seen before, of other skills too, the next Delta of a
  useless skill has a mean of at most `null_effect`. Fresh rollouts for every group grant it.
  A candidate is retired when its effect is shown to be below `min_effect`, an active skill when its effect since
  promotion is shown to be negative.

Under either rule a candidate that is still undecided after `max_groups` is retired. The book is a fold over its calls:
the same evidence in the same order gives the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from siri_verl.core.confidence import confidence_sequence, log_e_value, log_e_value_below
from siri_verl.core.decision import ACTIVE, CANDIDATE, RETIRED, STATUSES, Decision, SkillState, UtilitySettings

__all__ = ["ACTIVE", "CANDIDATE", "RETIRED", "Decision", "DecisionBook", "SkillState", "UtilitySettings"]

Verdict = tuple[str, str, float | None, float | None]
"""New status, reason, log e-value, log threshold."""


class DecisionBook:
    """Evidence and decisions about every skill of a run."""

    def __init__(self, settings: UtilitySettings):
        """
        Raises:
            ValueError: the budget is too small for any skill to be promoted.
        """
        self.settings = settings
        self.states: dict[str, SkillState] = {}
        self.tested = 0
        self.promotions = 0
        self._sums: dict[str, tuple[float, int]] = {}
        if settings.decision == "sequential":
            best = log_e_value([1.0] * settings.max_groups, settings.null_effect)
            if best < self.promotion_threshold(1):
                raise ValueError(
                    f"siri.utility.max_groups={settings.max_groups}: can never be met: with fdr={settings.fdr} and "
                    f"null_effect={settings.null_effect} even a skill with Delta = 1 in every group needs more groups"
                )

    def add(self, skill_id: str, task_type: str, status: str = CANDIDATE) -> None:
        """Enter a skill with a state of its own. For errors see `enter`."""
        self.enter(SkillState(skill_id, task_type, status))

    def enter(self, state: SkillState) -> None:
        """Enter a skill by its state, which the book updates from then on.

        Raises:
            ValueError: the id is taken or the status unknown.
        """
        if state.skill_id in self.states:
            raise ValueError(f"decision book: skill {state.skill_id!r} is already in it")
        if state.status not in STATUSES:
            raise ValueError(
                f"decision book: status {state.status!r} of skill {state.skill_id!r}, must be one of "
                f"{', '.join(STATUSES)}"
            )
        self.states[state.skill_id] = state

    def record(self, skill_id: str, delta: float, step: int) -> Decision | None:
        """Take in one group's Delta and decide.

        Args:
            skill_id: the skill the group was shown.
            delta: Delta_g in success units, in [-1, 1].
            step: the training step.

        Returns:
            The decision this evidence settled, if any. Evidence about a retired skill is kept and changes nothing.

        Raises:
            ValueError: the skill is unknown, or the Delta is undefined or out of range.
        """
        state = self.observe(skill_id, delta)
        verdict = self._verdict(state)
        if verdict is None:
            return None
        after, reason, e_value, e_threshold = verdict
        used = state.deltas[state.since :]
        low, high = confidence_sequence(used, self.settings.interval_level)
        decision = Decision(
            skill_id=skill_id,
            step=step,
            before=state.status,
            after=after,
            rule=self.settings.decision,
            reason=reason,
            groups=len(used),
            mean=math.fsum(used) / len(used),
            low=low,
            high=high,
            utility=state.utility,
            e_value=e_value,
            e_threshold=e_threshold,
        )
        self.apply(decision)
        return decision

    def observe(self, skill_id: str, delta: float) -> SkillState:
        """Take in one Delta without deciding (replay); else as `record`."""
        state = self.state(skill_id)
        if not abs(delta) <= 1.0 + 1e-9:
            raise ValueError(
                f"decision book: Delta {delta} of skill {skill_id!r}, must lie in [-1, 1]: a defined treatment "
                "effect in success units (return / success reward)"
            )
        if not state.deltas:
            self.tested += 1
        state.observe(float(delta), self.settings, self.tested)
        total, count = self._sums.get(state.task_type, (0.0, 0))
        self._sums[state.task_type] = total + delta, count + 1
        return state

    def apply(self, decision: Decision) -> None:
        """Carry out a decision, taken just now or read from a bank.

        Raises:
            ValueError: the skill's status is not the one the decision starts from.
        """
        state = self.state(decision.skill_id)
        if state.status != decision.before:
            raise ValueError(
                f"decision book: {decision.before} -> {decision.after} for skill {decision.skill_id!r}, which is "
                f"{state.status}"
            )
        state.status, state.since, state.below = decision.after, len(state.deltas), 0
        self.promotions += decision.after == ACTIVE

    def state(self, skill_id: str) -> SkillState:
        """The state of a skill.

        Raises:
            ValueError: it is not in the book.
        """
        if skill_id not in self.states:
            raise ValueError(f"decision book: unknown skill {skill_id!r}; {len(self.states)} skills are in the book")
        return self.states[skill_id]

    def utility(self, skill_id: str) -> float:
        """What retrieval ranks by: the moving average under `ema`, the shrunken effect under `sequential`."""
        state = self.state(skill_id)
        return state.utility if self.settings.decision == "ema" else self.shrunken_effect(skill_id)

    def best(self, skill_ids: Iterable[str]) -> str:
        """The skill of highest utility among skills of one task type; the first of equals.

        Raises:
            ValueError: none is given.
        """
        states = self.states
        if self.settings.decision == "ema":
            return max(skill_ids, key=lambda skill_id: states[skill_id].utility)
        ids = list(skill_ids)
        k, toward = self.settings.shrinkage_groups, self._type_mean(states[ids[0]].task_type) if ids else 0.0

        def effect(skill_id: str) -> float:
            state = states[skill_id]
            groups = len(state.deltas) + k
            return (state.total + k * toward) / groups if groups else toward

        return max(ids, key=effect)

    def shrunken_effect(self, skill_id: str) -> float:
        """Mean Delta shrunk toward its task type's mean, that toward the mean of all types, that toward 0.

        Each level's mean counts as `shrinkage_groups` groups at the level below.
        """
        state = self.state(skill_id)
        return self._blend(state.total, len(state.deltas), self._type_mean(state.task_type))

    def _type_mean(self, task_type: str) -> float:
        sums = self._sums.values()
        every = self._blend(math.fsum(total for total, _ in sums), sum(count for _, count in sums), 0.0)
        return self._blend(*self._sums.get(task_type, (0.0, 0)), every)

    def _blend(self, total: float, count: int, toward: float) -> float:
        k = self.settings.shrinkage_groups
        return (total + k * toward) / (count + k) if count + k > 0 else toward

    def promotion_threshold(self, test_index: int) -> float:
        """log of the e-value a candidate needs now, for the `test_index`-th skill tested."""
        share = 1.0 / (test_index * (test_index + 1))
        return -math.log(self.settings.fdr * share * (self.promotions + 1))

    def _verdict(self, state: SkillState) -> Verdict | None:
        if state.status == RETIRED:
            return None
        rule = self._ema_verdict if self.settings.decision == "ema" else self._sequential_verdict
        verdict = rule(state)
        if verdict is None and state.status == CANDIDATE and state.groups >= self.settings.max_groups:
            return RETIRED, f"still undecided after {state.groups} groups (max_groups)", None, None
        return verdict

    def _ema_verdict(self, state: SkillState) -> Verdict | None:
        s = self.settings
        if state.groups < s.n_eval:
            return None
        if state.status == CANDIDATE and state.utility > s.promote_above:
            return (
                ACTIVE,
                f"utility {state.utility:.3f} above {s.promote_above} after {state.groups} groups",
                None,
                None,
            )
        if state.below >= s.retire_after:
            return RETIRED, f"utility {state.utility:.3f}, below {s.retire_below} for {state.below} updates", None, None
        return None

    def _sequential_verdict(self, state: SkillState) -> Verdict | None:
        s, used = self.settings, state.deltas[state.since :]
        if state.status == CANDIDATE:
            e_value, threshold = log_e_value(used, s.null_effect), self.promotion_threshold(state.test_index)
            if e_value >= threshold:
                return (
                    ACTIVE,
                    self._compare(f"effect above {s.null_effect}", used, e_value, threshold),
                    e_value,
                    threshold,
                )
        bound = s.min_effect if state.status == CANDIDATE else min(0.0, s.null_effect)
        e_value, threshold = log_e_value_below(used, bound), -math.log(s.retire_level)
        if e_value >= threshold:
            return RETIRED, self._compare(f"effect below {bound}", used, e_value, threshold), e_value, threshold
        return None

    def _compare(self, claim: str, used: list[float], e_value: float, threshold: float) -> str:
        return f"{claim}: log e-value {e_value:.2f} reached {threshold:.2f} after {len(used)} groups"
