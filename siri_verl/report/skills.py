# SPDX-License-Identifier: Apache-2.0
"""The life of each skill of a bank: its evidence, utility and decisions. Page, text and tables use it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from siri_verl.core.confidence import confidence_sequence
from siri_verl.core.decisions import Decision, DecisionBook
from siri_verl.core.rules import ACTIVE, CANDIDATE, RETIRED
from siri_verl.report.reader import Run
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Evidence, Skill

_TURNED_AWAY = "siri/mining/turned_away/"


@dataclass(frozen=True)
class UtilityPath:
    """A skill's utility after each group it was shown in, and its decisions with the utility at the time.

    Attributes:
        steps: (groups,) training steps.
        utility: (groups,) the number that retrieval ranks by.
        decisions: (decision, utility) in order.
    """

    steps: list[int] = field(default_factory=list)
    utility: list[float] = field(default_factory=list)
    decisions: list[tuple[Decision, float]] = field(default_factory=list)


@dataclass(frozen=True)
class SkillLife:
    """A skill with the numbers that follow from its evidence.

    Attributes:
        skill: of the bank.
        utility: at the end; None before its first group.
        level: coverage of `interval`.
        path: its utility over its groups.
    """

    skill: Skill
    utility: float | None
    level: float
    path: UtilityPath

    @property
    def mean_delta(self) -> float | None:
        """Mean Delta over all its groups; None without."""
        return mean_delta(self.skill.evidence)

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high) of the mean Delta, valid at any time of looking; None without groups."""
        deltas = [e.delta for e in self.skill.evidence]
        return confidence_sequence(deltas, self.level) if deltas else None

    @property
    def fate(self) -> str:
        """Its status at the end in a few words."""
        if self.skill.status == CANDIDATE:
            return "under test" if self.skill.evidence else "waiting"
        verb = "promoted" if self.skill.status == ACTIVE else self.skill.status
        return f"{verb} at step {self.skill.decisions[-1].step}: {self.skill.decisions[-1].reason}"


def skill_lives(bank: SkillBank) -> list[SkillLife]:
    """The lives of all skills, in the order of the bank."""
    paths, level = utility_paths(bank), bank.book.settings.interval_level
    return [
        SkillLife(
            skill,
            bank.utility(skill.skill_id) if skill.evidence else None,
            level,
            paths.get(skill.skill_id, UtilityPath()),
        )
        for skill in bank.skills.values()
    ]


def by_fate(lives: Sequence[SkillLife]) -> tuple[list[SkillLife], list[SkillLife], list[SkillLife]]:
    """Skills that were active at some time, in order of promotion; other tested ones, first the retired ones and those
    with most evidence; those never shown."""
    promoted = [life for life in lives if life.skill.was_active]
    tested = [life for life in lives if life.skill.evidence and not life.skill.was_active]
    promoted.sort(key=lambda life: (life.skill.decisions[0].step, life.skill.skill_id))
    tested.sort(key=lambda life: (life.skill.status != RETIRED, -len(life.skill.evidence), life.skill.skill_id))
    return promoted, tested, [life for life in lives if not life.skill.evidence and not life.skill.was_active]


def mean_delta(evidence: Sequence[Evidence]) -> float | None:
    """Mean Delta of groups; None without groups."""
    return math.fsum(e.delta for e in evidence) / len(evidence) if evidence else None


def utility_paths(bank: SkillBank) -> dict[str, UtilityPath]:
    """Skill id -> utility over the run, for every tested skill: the bank's events, replayed under its decision rule."""
    book = DecisionBook(bank.book.settings)
    paths: dict[str, UtilityPath] = {}
    for event in bank.events:
        if isinstance(event, Skill):
            book.add(event.skill_id, event.task_type)
        elif isinstance(event, Evidence):
            book.observe(event.skill_id, event.delta)
            path = paths.setdefault(event.skill_id, UtilityPath())
            path.steps.append(event.step)
            path.utility.append(book.utility(event.skill_id))
        elif isinstance(event, Decision):
            paths[event.skill_id].decisions.append((event, book.utility(event.skill_id)))
            book.apply(event)
    return paths


@dataclass(frozen=True)
class Mined:
    """The outcome of the answers of the miner.

    Attributes:
        asked: answers asked for.
        entered: skills that entered the bank.
        turned_away: reason -> count of rejected answers, the most frequent first.
    """

    asked: int
    entered: int
    turned_away: dict[str, int]


def mined(run: Run) -> Mined:
    """The run's mining."""
    totals = {name: int(run.series(name).values.sum()) for name in run.train_metrics(_TURNED_AWAY)}
    listed = sorted(((name, n) for name, n in totals.items() if n), key=lambda pair: (-pair[1], pair[0]))
    return Mined(
        asked=int(run.series("siri/mining/requests").values.sum()),
        entered=len(run.bank),
        turned_away={name.removeprefix(_TURNED_AWAY): count for name, count in listed},
    )
