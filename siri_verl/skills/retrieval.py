# SPDX-License-Identifier: Apache-2.0
"""Which skill a group is shown: by task type, then by utility, with a share of the groups for candidates under test.

An anytime-valid decision at an effect of .2 takes some 20 to 40 groups, so only one or two candidates of a task type
are under test at a time; the others wait. Every choice derives from run seed, step and task id: a resumed run chooses
as one that was not stopped.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from siri_verl.core.rules import ACTIVE, CANDIDATE, ENDED
from siri_verl.core.seeding import derive_seed
from siri_verl.failures import check_field, check_one_of
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Skill, overlap


@dataclass
class RetrievalSettings:
    """How the skill of a group is chosen."""

    choice: str = "tested"
    """`tested`: the active skill of highest utility, or a candidate under test. Without tests, of the skills that are
    not retired: `any`, at random, or `newest`."""
    explore: float = 0.5
    """Share of a task type's groups that test a candidate when the type has an active skill too. Without one, all
    do."""
    testing_per_type: int = 1
    """Candidates of a task type under test at a time, 1 or 2."""

    def __post_init__(self) -> None:
        check_one_of("siri.retrieval.choice", self.choice, ("tested", "any", "newest"))
        check_field(self, "siri.retrieval.explore", 0 <= self.explore <= 1, "use a share in [0, 1]")
        fix = "use 1 or 2; more candidates at a time would leave each too few groups to be decided about"
        check_field(self, "siri.retrieval.testing_per_type", self.testing_per_type in (1, 2), fix)


@dataclass(frozen=True)
class TypePlan:
    """The skills shown and tested for one task type.

    Attributes:
        task_type: its name.
        best: the active skill shown, None without one.
        testing: candidates under test.
        waiting: how many candidates come after them.
    """

    task_type: str
    best: Skill | None
    testing: tuple[Skill, ...]
    waiting: int

    def __str__(self) -> str:
        shown = f"shows {self.best.skill_id}" if self.best else "no active skill"
        tests = ", ".join(f"{skill.skill_id} ({len(skill.evidence)} groups so far)" for skill in self.testing) or "none"
        return f"{self.task_type}: {shown}; under test: {tests}; {self.waiting} waiting"


def best_active(bank: SkillBank, task_type: str) -> Skill | None:
    """The active skill of a task type with the highest utility; None where the type has no active skill."""
    active = bank.of_type(task_type, ACTIVE)
    return bank[bank.book.best(skill.skill_id for skill in active)] if active else None


class Retriever:
    """Chooses skills from a bank."""

    def __init__(self, settings: RetrievalSettings, seed: int):
        self.settings = settings
        self.seed = seed
        self._plans: dict[str, TypePlan] = {}
        self._bank: SkillBank | None = None
        self._events = -1
        self._decided: dict[str, dict[str, None]] = {}
        self._similarity: dict[str, tuple[int, float]] = {}

    def retrieve(self, bank: SkillBank, task_type: str, *, step: int, task_id: str) -> Skill | None:
        """The skill to show the skill arm of a task's group, None when no skill fits (the group is then all plain).

        Args:
            bank: the bank as it stands at the start of the step.
            task_type: the task's type, read from its text.
            step: the training step.
            task_id: the task.
        """
        rng = random.Random(derive_seed(self.seed, "retrieve", step, task_id))
        if self.settings.choice != "tested":
            return self._untested(bank, task_type, rng)
        plan = self.plan(bank, task_type)
        if plan.best is None and not plan.testing:
            return None
        if plan.testing and (plan.best is None or rng.random() < self.settings.explore):
            return rng.choice(plan.testing)
        return plan.best

    def _untested(self, bank: SkillBank, task_type: str, rng: random.Random) -> Skill | None:
        """A skill that has not ended, in the order in which they were entered; None where there is none."""
        skills = [s for s in bank.skills.values() if s.task_type == task_type and s.status not in ENDED]
        if not skills:
            return None
        return skills[-1] if self.settings.choice == "newest" else rng.choice(skills)

    def plan(self, bank: SkillBank, task_type: str) -> TypePlan:
        """The skills shown and tested for a task type. Computed once per state of the bank."""
        if self._bank is not bank:
            self._bank, self._events, self._decided, self._similarity = bank, -1, {}, {}
        if self._events != len(bank.events):
            self._plans, self._events = {}, len(bank.events)
        if task_type not in self._plans:
            candidates = bank.of_type(task_type, CANDIDATE)
            # Tests that have begun are finished first.
            begun = [skill for skill in candidates if skill.evidence]
            fresh = [skill for skill in candidates if not skill.evidence]
            places = max(self.settings.testing_per_type - len(begun), 0)
            testing = (*begun, *self._next(bank, task_type, fresh, places))
            waiting = len(candidates) - len(testing)
            self._plans[task_type] = TypePlan(task_type, best_active(bank, task_type), testing, waiting)
        return self._plans[task_type]

    def _next(self, bank: SkillBank, task_type: str, fresh: list[Skill], places: int) -> list[Skill]:
        """The candidates to test next: first those with the fewest words in common with skills already decided about,
        then those mined most often, then the oldest."""
        if len(fresh) <= places or not places:
            return fresh[:places]
        decided = self._decided.setdefault(task_type, {})
        groups = [bank.of_type(task_type, status) for status in (*ENDED, ACTIVE)]
        if sum(map(len, groups)) > len(decided):
            decided.update((skill.skill_id, None) for group in groups for skill in group)
        ids = list(decided)

        def novelty(skill: Skill) -> tuple[float, int]:
            # A skill once decided about stays so: only the newly decided ones are compared.
            compared, largest = self._similarity.get(skill.skill_id, (0, 0.0))
            words = bank.words(skill.skill_id)
            largest = max([largest, *(overlap(words, bank.words(other)) for other in ids[compared:])])
            self._similarity[skill.skill_id] = len(ids), largest
            return -round(largest, 1), skill.repeats

        return heapq.nlargest(places, fresh, key=novelty)

    def plans(self, bank: SkillBank) -> list[TypePlan]:
        """The plans of every task type in the bank that has living skills, to be printed."""
        names = sorted({skill.task_type for skill in bank.skills.values()})
        plans = [self.plan(bank, name) for name in names]
        return [plan for plan in plans if plan.best or plan.testing]
