# SPDX-License-Identifier: Apache-2.0
"""The state of a skill under test, and the record of each decision about it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

CANDIDATE, ACTIVE, RETIRED = "candidate", "active", "retired"
STATUSES = (CANDIDATE, ACTIVE, RETIRED)
TRANSITIONS = ((CANDIDATE, ACTIVE), (CANDIDATE, RETIRED), (ACTIVE, RETIRED))


@dataclass
class UtilitySettings:
    """How treatment effects become decisions. Effects and utilities are in success units."""

    decision: str = "ema"
    """`ema`: the paper's rule. `sequential`: e-values, valid at any time of looking, with control of the
    false-discovery rate."""
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

    def __post_init__(self) -> None:
        def need(ok: bool, name: str, fix: str) -> None:
            if not ok:
                raise ValueError(f"siri.utility.{name}={getattr(self, name)!r}: {fix}")

        need(self.decision in ("ema", "sequential"), "decision", "use ema or sequential")
        need(0 < self.ema_alpha <= 1, "ema_alpha", "use a value in (0, 1]")
        need(self.n_eval >= 1, "n_eval", "use at least 1")
        need(self.retire_after >= 1, "retire_after", "use at least 1")
        need(self.max_groups >= 1, "max_groups", "use at least 1")
        need(-1 < self.retire_below < 1, "retire_below", "use a value in (-1, 1)")
        need(self.promote_above > self.retire_below, "promote_above", f"use more than retire_below={self.retire_below}")
        need(0 < self.fdr < 1, "fdr", "use a value in (0, 1)")
        need(0 < self.retire_level < 1, "retire_level", "use a value in (0, 1)")
        need(0 < self.interval_level < 1, "interval_level", "use a value in (0, 1)")
        need(-1 < self.null_effect < 1, "null_effect", "use a value in (-1, 1)")
        need(self.null_effect <= self.min_effect < 1, "min_effect", f"use a value in [{self.null_effect}, 1)")
        need(self.shrinkage_groups >= 0, "shrinkage_groups", "use 0 or more")
        if self.decision == "ema":
            # Delta is at most 1, so this is the highest utility a candidate can have before its budget is spent.
            highest = 1 - (1 - self.ema_alpha) ** self.max_groups
            need(
                self.n_eval <= self.max_groups, "n_eval", f"can never be met: max_groups={self.max_groups} comes first"
            )
            need(
                self.promote_above < highest,
                "promote_above",
                f"can never be met: with ema_alpha={self.ema_alpha} and max_groups={self.max_groups} a utility "
                f"stays below {highest:.4g} even if every group succeeds only with the skill",
            )


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


@dataclass
class SkillState:
    """What a rule knows about one skill.

    Attributes:
        skill_id: the skill.
        task_type: the kind of task it is for.
        status: `candidate`, `active` or `retired`.
        deltas: every Delta so far, in order.
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

    def observe(self, delta: float, settings: UtilitySettings, test_index: int) -> None:
        """Take in one Delta: u <- (1 - alpha) u + alpha Delta."""
        self.test_index = self.test_index or test_index
        self.deltas.append(delta)
        self.total += delta
        self.utility += settings.ema_alpha * (delta - self.utility)
        self.below = self.below + 1 if self.utility < settings.retire_below else 0
