# SPDX-License-Identifier: Apache-2.0
"""Decisions about skills: the record of each, and the book that holds the evidence and the status of every skill.

The book is a fold over its calls: the same evidence in the same order gives the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from siri_verl.core.confidence import confidence_sequence
from siri_verl.core.posterior_rule import POSTERIOR, belief
from siri_verl.core.rules import (
    ACTIVE,
    CANDIDATE,
    INTERNALIZED,
    RETIRED,
    STATUSES,
    SkillState,
    UtilitySettings,
    decide,
)
from siri_verl.core.uptake import PairedGroup

TRANSITIONS = ((CANDIDATE, ACTIVE), (CANDIDATE, RETIRED), (ACTIVE, RETIRED), (ACTIVE, INTERNALIZED))
RANKS: dict[str, Callable[[SkillState], float]] = {"ema": lambda state: state.utility, POSTERIOR: belief}
"""Decision rule -> what skills of one type are ranked by."""
NO_GROUP = PairedGroup("", math.nan, math.nan)
"""Evidence whose arms are not known."""


@dataclass(frozen=True)
class Decision:
    """Why a skill changed its status.

    Attributes:
        skill_id: the skill.
        step: the training step of the evidence that settled it.
        before: status before.
        after: status after.
        rule: `ema` or `sequential`.
        reason: one sentence with the numbers compared.
        groups: paired groups (one Delta each) the decision rests on.
        mean: mean Delta over them.
        low: lower end of an interval for the mean effect that is valid at any time of looking.
        high: its upper end.
        utility: the utility when the decision was taken.
        e_value: `sequential`: log of the e-value that was compared, else None.
        e_threshold: `sequential`: log of what it was compared with, else None.
    """

    skill_id: str
    step: int
    before: str
    after: str
    rule: str
    reason: str
    groups: int
    mean: float
    low: float
    high: float
    utility: float
    e_value: float | None = None
    e_threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.before, self.after) not in TRANSITIONS:
            raise ValueError(
                f"decision about {self.skill_id!r}: {self.before} -> {self.after} is not a step of the life cycle"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Decision:
        """The inverse of `to_dict`.

        Raises:
            ValueError: a field is missing or unknown.
        """
        known = {f.name for f in fields(cls)}
        required = known - {"e_value", "e_threshold"}
        if not required <= set(data) <= known:
            wrong = sorted((required - set(data)) | (set(data) - known))
            raise ValueError(f"decision: missing or unknown fields {', '.join(wrong)}")
        return cls(**data)


class DecisionBook:
    """Evidence and decisions about every skill of a run."""

    def __init__(self, settings: UtilitySettings):
        self.settings = settings
        self.states: dict[str, SkillState] = {}
        self.tested = 0
        self.promotions = 0
        self.shown: dict[str, list[float]] = {}
        """Task type -> the Deltas of its groups that showed an active skill, since a skill of the type was last
        promoted or retired."""
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, skill_id: str, task_type: str) -> None:
        """Enter a skill that was not tested yet; else as `enter`."""
        self.enter(SkillState(skill_id, task_type))

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

    def record(self, skill_id: str, delta: float, step: int, group: PairedGroup = NO_GROUP) -> Decision | None:
        """Record one group's Delta and decide.

        Args:
            skill_id: the skill the group was shown.
            delta: Delta_g in success units, in [-1, 1].
            step: the training step.
            group: its task and its arms; the settings that look at the newest groups need them.

        Returns:
            The decision that follows, if any. Evidence about a skill that has ended is kept and changes nothing.

        Raises:
            ValueError: the skill is unknown, or the Delta is undefined or out of range.
        """
        state = self.observe(skill_id, delta, group)
        verdict = decide(state, self.settings, self.promotions)
        if verdict is None:
            return None
        used = state.deltas[state.since :]
        low, high = confidence_sequence(used, self.settings.interval_level)
        decision = Decision(
            skill_id=skill_id,
            step=step,
            before=state.status,
            after=verdict.after,
            rule=self.settings.decision,
            reason=verdict.reason,
            groups=len(used),
            mean=math.fsum(used) / len(used),
            low=low,
            high=high,
            utility=state.utility,
            e_value=verdict.e_value,
            e_threshold=verdict.e_threshold,
        )
        self.apply(decision)
        return decision

    def observe(self, skill_id: str, delta: float, group: PairedGroup = NO_GROUP) -> SkillState:
        """Record one Delta without deciding (replay); else as `record`."""
        state = self.state(skill_id)
        if not abs(delta) <= 1.0 + 1e-9:
            raise ValueError(
                f"decision book: Delta {delta} of skill {skill_id!r}, must lie in [-1, 1]: a defined treatment "
                "effect in success units (return / success reward)"
            )
        if not state.deltas:
            self.tested += 1
        state.observe(float(delta), self.settings, self.tested, group)
        if state.status == ACTIVE:
            self.shown.setdefault(state.task_type, []).append(float(delta))
        total, count = self._sums.get(state.task_type, (0.0, 0))
        self._sums[state.task_type] = total + delta, count + 1
        return state

    def apply(self, decision: Decision) -> None:
        """Change a skill's status by a decision, taken just now or read from a bank.

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
        if ACTIVE in (decision.before, decision.after) and decision.after != INTERNALIZED:
            self.shown.pop(state.task_type, None)

    def state(self, skill_id: str) -> SkillState:
        """The state of a skill.

        Raises:
            ValueError: it is not in the book.
        """
        if skill_id not in self.states:
            raise ValueError(f"decision book: unknown skill {skill_id!r}; {len(self.states)} skills are in the book")
        return self.states[skill_id]

    def utility(self, skill_id: str) -> float:
        """The number retrieval ranks by: the moving average under `ema`, the belief under Bayesian-Agent's rule, else
        the shrunken effect."""
        state = self.state(skill_id)
        rank = RANKS.get(self.settings.decision)
        return self.shrunken_effect(skill_id) if rank is None else rank(state)

    def best(self, skill_ids: Iterable[str]) -> str:
        """The skill of highest utility among skills of one task type; the first of equals.

        Raises:
            ValueError: none is given.
        """
        states, rank = self.states, RANKS.get(self.settings.decision)
        if rank is not None:
            return max(skill_ids, key=lambda skill_id: rank(states[skill_id]))
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
