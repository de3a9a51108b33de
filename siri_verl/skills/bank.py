# SPDX-License-Identifier: Apache-2.0
"""The bank: all skills of a run with their evidence and decisions, as an append-only list of events.

An event is never changed: a skill entered, the same skill was mined again, one group's evidence, a decision. Status,
utility and census follow from the events, so a bank that is read from its file (`siri_verl.skills.bank_file`)
continues exactly where it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from siri_verl.core.curriculum import CurriculumSettings, measured_gaps
from siri_verl.core.decisions import Decision, DecisionBook
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.phases import Census
from siri_verl.core.rules import ACTIVE, CANDIDATE, INTERNALIZED, STATUSES, UtilitySettings
from siri_verl.core.uptake import PairedGroup
from siri_verl.failures import check_field
from siri_verl.skills.neutral import NEUTRAL
from siri_verl.skills.sanitize import UnsafeTextError, neutralise
from siri_verl.skills.skill import Event, Evidence, Provenance, Repeat, Skill, normalised, overlap, word_set
from siri_verl.skills.text import skill_block

_NUMBERED = re.compile(r"s([0-9]{1,15})")


@dataclass
class BankSettings:
    """Caps on the bank."""

    max_skills: int = 10_000
    """All skills ever entered, including retired ones: their text is kept so that it is not mined again."""
    max_candidates_per_type: int = 8
    """Candidates of one task type that wait for or are under test."""
    max_condition_chars: int = 200
    """Longest condition."""
    max_strategy_chars: int = 600
    """Longest strategy."""
    duplicate_overlap: float = 0.9
    """Share of common words from which two strategies for one task type count as the same."""

    def __post_init__(self) -> None:
        for name in ("max_skills", "max_candidates_per_type", "max_condition_chars", "max_strategy_chars"):
            check_field(self, f"siri.bank.{name}", getattr(self, name) >= 1, "use at least 1")
        check_field(self, "siri.bank.duplicate_overlap", 0 < self.duplicate_overlap <= 1, "use a share in (0, 1]")


@dataclass(frozen=True)
class Offer:
    """The outcome of offering a skill to the bank.

    Attributes:
        skill: the new skill, None when it was rejected.
        problem: why it was rejected: `duplicate`, `bank_full`, `type_full`, `condition_too_long`,
            `strategy_too_long`, `empty`, `unsafe`; "" when it was accepted.
        duplicate_of: the id of the skill it repeats.
        neutralised: control tokens removed from its text, whether it was accepted or not.
    """

    skill: Skill | None
    problem: str = ""
    duplicate_of: str = ""
    neutralised: int = 0


class SkillBank:
    """Skills, their evidence and the decisions about them."""

    def __init__(
        self,
        settings: BankSettings | None = None,
        utility: UtilitySettings | None = None,
        special_tokens: Sequence[str] = (),
    ):
        """
        Args:
            settings: caps.
            utility: the decision rule.
            special_tokens: the tokenizer's special tokens, removed from every text in addition to the known forms.
        """
        self.settings = settings or BankSettings()
        self.book = DecisionBook(utility or UtilitySettings())
        self.special_tokens = tuple(special_tokens)
        self.skills: dict[str, Skill] = {}
        self.events: list[Event] = []
        """In the order of the file; append-only."""
        self._by_type: dict[str, list[str]] = {}
        self._by_status: dict[tuple[str, str], dict[str, Skill]] = {}
        self._by_text: dict[tuple[str, str], str] = {}
        self._words: dict[str, frozenset[str]] = {}
        self._highest = 0

    def __len__(self) -> int:
        return len(self.skills)

    def __getitem__(self, skill_id: str) -> Skill:
        """
        Raises:
            KeyError: no such skill.
        """
        if skill_id not in self.skills:
            raise KeyError(f"bank: no skill {skill_id!r} among {len(self.skills)}")
        return self.skills[skill_id]

    def add(self, condition: str, strategy: str, task_type: str, provenance: Provenance, *, control: str = "") -> Offer:
        """Offer a skill: neutralise its text, reject it if it breaks a cap or repeats another, else enter it as a
        candidate."""
        try:
            parts = [neutralise(text, self.special_tokens) for text in (condition, strategy, control)]
        except UnsafeTextError:
            return Offer(None, "unsafe", neutralised=1)
        count = sum(part.neutralised for part in parts)
        condition, strategy, control = (part.text for part in parts)
        problem, duplicate_of = self._problem(condition, strategy, task_type)
        if duplicate_of:
            self.repeat(duplicate_of, provenance)
        if problem:
            return Offer(None, problem, duplicate_of, count)
        # Above every number in the bank: a bank that was pruned or written by hand has gaps.
        number = max(len(self.skills), self._highest) + 1
        skill = Skill(f"s{number:04d}", condition, strategy, task_type, provenance, count, control)
        self.enter(skill)
        return Offer(skill, neutralised=count)

    def repeat(self, skill_id: str, provenance: Provenance) -> None:
        """Record that a skill was mined again: candidates mined more often are tested first.

        Raises:
            KeyError: no such skill.
        """
        self[skill_id].repeats += 1
        self.events.append(Repeat(skill_id, provenance))

    def record(self, effect: TreatmentEffect, task_id: str, step: int) -> Decision | None:
        """Record the treatment effect of one group and decide about its skill.

        Args:
            effect: of a group that was shown a skill. An undefined Delta changes nothing.
            task_id: the group's task.
            step: the training step.

        Returns:
            The decision that follows, if any.

        Raises:
            KeyError: the group names a skill that is not in the bank.
        """
        if not effect.defined:
            return None
        skill = self[effect.skill_id]
        means, sizes = (effect.skill_mean, effect.plain_mean), (effect.skill_n, effect.plain_n)
        group = PairedGroup(task_id, effect.plain_mean, effect.skill_mean, step, effect.skill_n)
        decision = self.book.record(skill.skill_id, effect.delta, step, group)
        self._append_evidence(Evidence(skill.skill_id, step, task_id, effect.delta, *means, *sizes))
        if decision is not None:
            self._append_decision(decision)
        return decision

    def record_all(self, effects: Iterable[TreatmentEffect], task_ids: Mapping[Any, str], step: int) -> list[Decision]:
        """`record` over the groups of a step, in order of task id, so that the order of arrival has no influence.

        Args:
            effects: of any groups; those without a skill or a defined Delta are skipped.
            task_ids: group -> task id.
            step: the training step.
        """
        shown = [effect for effect in effects if effect.skill_id and effect.defined]
        shown.sort(key=lambda effect: (task_ids[effect.group], effect.skill_id, effect.delta))
        decisions = (self.record(effect, task_ids[effect.group], step) for effect in shown)
        return [decision for decision in decisions if decision is not None]

    def gaps(self, step: int, curriculum: CurriculumSettings) -> dict[str, float]:
        """Task type -> mean Delta at its last measurement before a step; empty without a curriculum."""
        if not curriculum.budgets:
            return {}
        evidence = [event for event in self.events if isinstance(event, Evidence)]
        found = ((self.skills[e.skill_id].task_type, e.step, e.delta) for e in evidence)
        return measured_gaps(found, step, curriculum.measure_every)

    def of_type(self, task_type: str, status: str) -> Collection[Skill]:
        """Skills of a task type with one status, in the order in which they reached it."""
        return self._by_status.get((task_type, status), {}).values()

    def words(self, skill_id: str) -> frozenset[str]:
        """The words of the skill's strategy, computed once."""
        return self._words[skill_id]

    def utility(self, skill_id: str) -> float:
        """The skill's utility in success units."""
        return self.book.utility(skill_id)

    def census(self, task_types: Collection[str]) -> Census:
        """Counts by status, and how many of the task types seen so far have an active or internalized skill."""
        counts = dict.fromkeys(STATUSES, 0)
        covered = set()
        for skill in self.skills.values():
            counts[skill.status] += 1
            if skill.status in (ACTIVE, INTERNALIZED):
                covered.add(skill.task_type)
        return Census(**counts, types=len(set(task_types)), active_types=len(covered & set(task_types)))

    def find_in(self, prompt: str, task: str = "") -> str:
        """The id of a skill whose text is part of a prompt, "" if there is none (plain prompts and validation).

        Looks for the strategy. A strategy that the task's own words may contain (under 20 characters, or part of
        `task`, the task's text) counts only together with its condition, as the prompt's skill section writes it.
        """
        task = normalised(task)
        for skill in self.skills.values():
            neutral = skill.control == NEUTRAL
            for text in (skill.strategy, skill.control_block if neutral else skill.control):
                long = len(text) >= 20
                if not text or (long and text not in prompt):  # the cheap check first: there may be many skills
                    continue
                distinct = long and not (task and normalised(text) in task)
                if distinct or skill_block(skill.condition, text) in prompt:
                    return skill.skill_id
        return ""

    def enter(self, skill: Skill) -> None:
        """Enter a new skill without checks of its text (reading a file).

        Raises:
            ValueError: its id is taken.
        """
        self.book.enter(skill.state)
        self.skills[skill.skill_id] = skill
        if numbered := _NUMBERED.fullmatch(skill.skill_id):
            self._highest = max(self._highest, int(numbered[1]))
        self._by_type.setdefault(skill.task_type, []).append(skill.skill_id)
        self._by_text.setdefault((skill.task_type, normalised(skill.strategy)), skill.skill_id)
        self._by_status.setdefault((skill.task_type, skill.status), {})[skill.skill_id] = skill
        self._words[skill.skill_id] = skill.words
        self.events.append(skill)

    def replay_evidence(self, evidence: Evidence) -> None:
        """Add evidence whose decisions follow as events of their own (reading a file).

        Raises:
            ValueError: Delta is out of range.
        """
        group = PairedGroup(evidence.task_id, evidence.plain_mean, evidence.skill_mean, evidence.step, evidence.skill_n)
        self.book.observe(evidence.skill_id, evidence.delta, group)
        self._append_evidence(evidence)

    def replay_decision(self, decision: Decision) -> None:
        """Apply a recorded decision (reading a file).

        Raises:
            ValueError: it does not start from the skill's status.
        """
        self.book.apply(decision)
        self._append_decision(decision)

    def _append_evidence(self, evidence: Evidence) -> None:
        self[evidence.skill_id].evidence.append(evidence)
        self.events.append(evidence)

    def _append_decision(self, decision: Decision) -> None:
        skill = self[decision.skill_id]
        skill.decisions.append(decision)
        del self._by_status[skill.task_type, decision.before][skill.skill_id]
        self._by_status.setdefault((skill.task_type, decision.after), {})[skill.skill_id] = skill
        self.events.append(decision)

    def _problem(self, condition: str, strategy: str, task_type: str) -> tuple[str, str]:
        """Why an offer is rejected, and the skill it repeats; ("", "") if it is accepted."""
        s = self.settings
        if not condition or not strategy:
            return "empty", ""
        if len(condition) > s.max_condition_chars:
            return "condition_too_long", ""
        if len(strategy) > s.max_strategy_chars:
            return "strategy_too_long", ""
        duplicate_of = self.find_duplicate(strategy, task_type)
        if duplicate_of:
            return "duplicate", duplicate_of
        if len(self.skills) >= s.max_skills:
            return "bank_full", ""
        if len(self.of_type(task_type, CANDIDATE)) >= s.max_candidates_per_type:
            return "type_full", ""
        return "", ""

    def find_duplicate(self, strategy: str, task_type: str) -> str:
        """The id of a skill of the type, of any status, with this strategy or nearly; "" if there is none."""
        # Conditions are not compared: retrieval uses the task type alone, so the same strategy under another condition
        # would be the same test again.
        same = self._by_text.get((task_type, normalised(strategy)))
        if same is not None:
            return same
        words = word_set(strategy)
        for skill_id in self._by_type.get(task_type, ()):
            if overlap(words, self._words[skill_id]) >= self.settings.duplicate_overlap:
                return skill_id
        return ""
