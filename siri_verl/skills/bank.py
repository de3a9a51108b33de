# SPDX-License-Identifier: Apache-2.0
"""The bank: every skill of a run, its evidence and its life, in one append-only record.

The bank is a list of records, each written as one line of JSON and never changed: a skill entered, the
same skill mined again, one group's evidence, a decision. Everything else (status, utility, census) follows from them,
so a bank that is read back goes on exactly where it stopped. `siri_verl.skills.bank_file` reads and writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from siri_verl.core.decision import ACTIVE, CANDIDATE, RETIRED, Decision, UtilitySettings
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.phases import Census
from siri_verl.core.utility import DecisionBook
from siri_verl.skills.sanitize import UnsafeTextError, neutralise
from siri_verl.skills.skill import Evidence, Provenance, Skill, normalised, overlap, word_set
from siri_verl.skills.text import skill_block

_NUMBERED = re.compile(r"s([0-9]{1,15})")


@dataclass
class BankSettings:
    """Caps on the bank."""

    max_skills: int = 10_000
    """All skills ever entered, retired ones too: their text is kept so that it is not mined again."""
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
            if getattr(self, name) < 1:
                raise ValueError(f"siri.bank.{name}={getattr(self, name)!r}: use at least 1")
        if not 0 < self.duplicate_overlap <= 1:
            raise ValueError(f"siri.bank.duplicate_overlap={self.duplicate_overlap!r}: use a share in (0, 1]")


@dataclass(frozen=True)
class Entry:
    """What became of a skill that was offered to the bank.

    Attributes:
        skill: the new skill, None when it was turned away.
        problem: why it was turned away: `duplicate`, `bank_full`, `type_full`, `condition_too_long`,
            `strategy_too_long`, `empty`, `unsafe`; "" when it was taken.
        duplicate_of: the id of the skill it repeats.
        neutralised: control tokens taken out of its text, whether it was taken or not.
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
            utility: how evidence becomes decisions.
            special_tokens: the tokenizer's special tokens, neutralised in every text beside the known forms.
        """
        self.settings = settings or BankSettings()
        self.book = DecisionBook(utility or UtilitySettings())
        self.special_tokens = tuple(special_tokens)
        self.skills: dict[str, Skill] = {}
        self.lines: list[str] = []
        """The records as they stand in the file, in order."""
        self._by_type: dict[str, list[str]] = {}
        self._living: dict[tuple[str, str], dict[str, Skill]] = {}
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

    def add(self, condition: str, strategy: str, task_type: str, provenance: Provenance, *, control: str = "") -> Entry:
        """Offer a skill: neutralise its text, turn it away if it breaks a cap or repeats another, else enter it as a
        candidate."""
        try:
            parts = [neutralise(text, self.special_tokens) for text in (condition, strategy, control)]
        except UnsafeTextError:
            return Entry(None, "unsafe", neutralised=1)
        count = sum(part.neutralised for part in parts)
        condition, strategy, control = (part.text for part in parts)
        problem, twin = self._problem(condition, strategy, task_type)
        if twin:
            self.repeat(twin, provenance)
        if problem:
            return Entry(None, problem, twin, count)
        # Above every number in the bank: one that was pruned or written by hand has gaps.
        number = max(len(self.skills), self._highest) + 1
        skill = Skill(f"s{number:04d}", condition, strategy, task_type, provenance, count, control)
        self.enter(skill)
        return Entry(skill, neutralised=count)

    def repeat(self, skill_id: str, provenance: Provenance) -> None:
        """Note that a skill was mined again: candidates found more often are tested first."""
        self[skill_id].repeats += 1
        self._line("repeat", id=skill_id, **asdict(provenance))

    def record(self, effect: TreatmentEffect, task_id: str, step: int) -> Decision | None:
        """Take in one group's treatment effect and decide about its skill.

        Args:
            effect: a group that was shown a skill. One whose Delta is undefined changes nothing.
            task_id: the group's task.
            step: the training step.

        Returns:
            The decision this evidence settled, if any.

        Raises:
            KeyError: the group names a skill that is not in the bank.
        """
        if not effect.defined:
            return None
        evidence = Evidence(
            step, task_id, effect.delta, effect.skill_mean, effect.plain_mean, effect.skill_n, effect.plain_n
        )
        skill = self[effect.skill_id]
        decision = self.book.record(skill.skill_id, evidence.delta, step)
        self._keep_evidence(skill, evidence)
        if decision is not None:
            self._keep_decision(skill, decision)
        return decision

    def record_all(self, effects: Iterable[TreatmentEffect], task_ids: dict[Any, str], step: int) -> list[Decision]:
        """`record` over the groups of a step, in order of task id, so that the order of arrival does not matter.

        Args:
            effects: of any groups; those without a skill or a defined Delta are passed over.
            task_ids: group -> task id.
            step: the training step.
        """
        shown = [effect for effect in effects if effect.skill_id and effect.defined]
        shown.sort(key=lambda effect: (task_ids[effect.group], effect.skill_id, effect.delta))
        decisions = (self.record(effect, task_ids[effect.group], step) for effect in shown)
        return [decision for decision in decisions if decision is not None]

    def of_type(self, task_type: str, status: str) -> Collection[Skill]:
        """Skills of a task type with one status, in the order in which they came to it."""
        return self._living.get((task_type, status), {}).values()

    def words(self, skill_id: str) -> frozenset[str]:
        """The words of the skill's strategy, split once."""
        return self._words[skill_id]

    def utility(self, skill_id: str) -> float:
        """The skill's utility in success units."""
        return self.book.utility(skill_id)

    def census(self, task_types: Collection[str]) -> Census:
        """The bank in numbers, beside the task types seen so far."""
        counts = {status: 0 for status in (CANDIDATE, ACTIVE, RETIRED)}
        covered = set()
        for skill in self.skills.values():
            counts[skill.status] += 1
            if skill.status == ACTIVE:
                covered.add(skill.task_type)
        return Census(**counts, types=len(set(task_types)), active_types=len(covered & set(task_types)))

    def find_in(self, prompt: str, task: str = "") -> str:
        """The id of a skill whose text stands in a prompt, "" if none does (plain prompts and validation).

        Looks for the strategy; one that cannot be told from a task's own words (under 20 characters, or contained in
        `task`, the task's text) must stand there with its condition, as the skill section writes it.
        """
        own = normalised(task)
        for skill in self.skills.values():
            for text in (skill.strategy, skill.control):
                long = len(text) >= 20
                if not text or (long and text not in prompt):  # the cheap look first: there may be many skills
                    continue
                telling = long and not (own and normalised(text) in own)
                if telling or skill_block(skill.condition, text) in prompt:
                    return skill.skill_id
        return ""

    def enter(self, skill: Skill) -> None:
        """Enter a skill as it is (reading a file).

        Raises:
            ValueError: its id is taken.
        """
        self.book.add(skill.skill_id, skill.task_type)
        self.skills[skill.skill_id] = skill
        if numbered := _NUMBERED.fullmatch(skill.skill_id):
            self._highest = max(self._highest, int(numbered[1]))
        self._by_type.setdefault(skill.task_type, []).append(skill.skill_id)
        self._by_text.setdefault((skill.task_type, normalised(skill.strategy)), skill.skill_id)
        self._living.setdefault((skill.task_type, skill.status), {})[skill.skill_id] = skill
        self._words[skill.skill_id] = skill.words
        self._line(
            "skill",
            id=skill.skill_id,
            task_type=skill.task_type,
            condition=skill.condition,
            strategy=skill.strategy,
            **asdict(skill.provenance),
            neutralised=skill.neutralised,
            control=skill.control,
        )

    def replay_evidence(self, skill_id: str, evidence: Evidence) -> None:
        """Take in evidence whose decisions follow as records of their own (reading a file)."""
        skill = self[skill_id]
        self.book.observe(skill_id, evidence.delta)
        self._keep_evidence(skill, evidence)

    def replay_decision(self, decision: Decision) -> None:
        """Carry out a recorded decision (reading a file).

        Raises:
            ValueError: it does not start from the skill's status.
        """
        skill = self[decision.skill_id]
        self.book.apply(decision)
        self._keep_decision(skill, decision)

    def _keep_evidence(self, skill: Skill, evidence: Evidence) -> None:
        skill.evidence.append(evidence)
        self._line("evidence", id=skill.skill_id, **asdict(evidence))

    def _keep_decision(self, skill: Skill, decision: Decision) -> None:
        skill.decisions.append(decision)
        del self._living[skill.task_type, skill.status][skill.skill_id]
        skill.status = decision.after
        self._living.setdefault((skill.task_type, skill.status), {})[skill.skill_id] = skill
        data = decision.to_dict()
        self._line("decision", id=data.pop("skill_id"), **data)

    def _line(self, kind: str, **values: Any) -> None:
        self.lines.append(json.dumps({"record": kind, **values}, ensure_ascii=False, allow_nan=False))

    def _problem(self, condition: str, strategy: str, task_type: str) -> tuple[str, str]:
        s = self.settings
        if not condition or not strategy:
            return "empty", ""
        if len(condition) > s.max_condition_chars:
            return "condition_too_long", ""
        if len(strategy) > s.max_strategy_chars:
            return "strategy_too_long", ""
        twin = self._twin(strategy, task_type)
        if twin:
            return "duplicate", twin
        if len(self.skills) >= s.max_skills:
            return "bank_full", ""
        if len(self.of_type(task_type, CANDIDATE)) >= s.max_candidates_per_type:
            return "type_full", ""
        return "", ""

    def _twin(self, strategy: str, task_type: str) -> str:
        # Retrieval goes by task type, so the same strategy under another condition would be the same test again.
        same = self._by_text.get((task_type, normalised(strategy)))
        if same is not None:
            return same
        words = word_set(strategy)
        for skill_id in self._by_type.get(task_type, ()):
            if overlap(words, self._words[skill_id]) >= self.settings.duplicate_overlap:
                return skill_id
        return ""
