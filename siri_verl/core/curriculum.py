# SPDX-License-Identifier: Apache-2.0
"""SKILL0's curriculum: skills of fewer and fewer task types are shown, until none is.

A run has as many stages as there are budgets. In a stage of budget M the skills of the M - 1 task types with the
largest gap are shown, of those whose gap is at least 0; with M = 0, and M = 1, none is. Gaps are measured every few
steps; a type that was not measured since keeps its gap, and before the first measurement all types are shown.

There a gap is success on the validation panel with skills minus without, and M - 1 leaves a place for skills of no
type; here it is the mean of Delta over the type's groups. Source: ZJU-REAL/SkillZero 08f06aa.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from siri_verl.failures import check_field


@dataclass
class CurriculumSettings:
    """Which task types are shown their skills, and in which order tasks come."""

    budgets: list[int] = field(default_factory=list)
    """M of each stage; empty: all types, always."""
    stage_steps: int = 60
    """Training steps of a stage; the last one lasts to the end."""
    measure_every: int = 10
    """Training steps between two measurements of the gaps."""
    chain_length: int = 1
    """Tasks of one type stand at one place of the batch in so many consecutive iterations (siri_verl/core/chains.py).
    Above 1 it orders the training tasks, and needs data.shuffle=false."""

    def __post_init__(self) -> None:
        block = "siri.curriculum"
        check_field(self, f"{block}.budgets", all(m >= 0 for m in self.budgets), "use numbers of task types >= 0")
        check_field(self, f"{block}.stage_steps", self.stage_steps >= 1, "use at least 1")
        check_field(self, f"{block}.chain_length", self.chain_length >= 1, "use at least 1")
        check_field(self, f"{block}.measure_every", self.measure_every >= 1, "use at least 1")

    def budget(self, step: int) -> int | None:
        """M in force at a training step; None without a curriculum."""
        if not self.budgets:
            return None
        return self.budgets[min((step - 1) // self.stage_steps, len(self.budgets) - 1)]


def measured_gaps(evidence: Iterable[tuple[str, int, float]], step: int, every: int) -> dict[str, float]:
    """Task type -> gap at its last measurement before a step.

    Args:
        evidence: (task type, training step, Delta) of groups.
        step: of the present.
        every: steps between two measurements.
    """
    now = (step - 1) // every
    windows: dict[str, dict[int, list[float]]] = {}
    for kind, at, delta in evidence:
        if (at - 1) // every < now:
            windows.setdefault(kind, {}).setdefault((at - 1) // every, []).append(delta)
    newest = {kind: found[max(found)] for kind, found in windows.items()}
    return {kind: sum(deltas) / len(deltas) for kind, deltas in newest.items()}


def shown_types(gaps: Mapping[str, float], budget: int) -> frozenset[str]:
    """The task types whose skills are shown: the `budget` - 1 with the largest gap, of those whose gap is >= 0."""
    ranked = sorted((kind for kind, gap in gaps.items() if gap >= 0), key=lambda kind: (-gaps[kind], kind))
    return frozenset(ranked[: max(budget - 1, 0)])


def shows(settings: CurriculumSettings, task_type: str, gaps: Mapping[str, float], step: int) -> bool:
    """Whether the skills of a task type are shown at a training step."""
    budget = settings.budget(step)
    if budget is None or (not gaps and budget > 1):
        return True
    return task_type in shown_types(gaps, budget)
