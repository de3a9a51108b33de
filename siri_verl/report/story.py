# SPDX-License-Identifier: Apache-2.0
"""What a run's folder says about its skills: metrics and bank read together, step by step.

Reads `metrics.jsonl` and `skills.jsonl` and nothing else. `story_words` and `story_pictures` tell it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.core.decisions import Decision, DecisionBook
from siri_verl.core.phases import PHASES
from siri_verl.core.rules import ACTIVE
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import ANY_LENGTH, load_bank
from siri_verl.skills.skill import Evidence, Skill


@dataclass(frozen=True)
class PhaseSpan:
    """Steps `first` to `last`, both included, in one phase."""

    phase: str
    first: int
    last: int

    @property
    def steps(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class UtilityPath:
    """A skill's utility after each group it was shown in, and its decisions with the utility they were taken at.

    Attributes:
        steps: (groups,) training steps.
        utility: (groups,) what retrieval ranked by.
        decisions: (decision, utility) in order.
    """

    steps: list[int] = field(default_factory=list)
    utility: list[float] = field(default_factory=list)
    decisions: list[tuple[Decision, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Series:
    """One metric over steps, where it was logged and is a number."""

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, first: int, last: int) -> Series:
        """The steps `first` to `last`."""
        inside = (self.steps >= first) & (self.steps <= last)
        return Series(self.steps[inside], self.values[inside])


class RunStory:
    """A run, ready to be told.

    Args:
        name: of the run.
        records: lines of its metrics file.
        bank: its skill bank; an empty one where the run has none.
    """

    def __init__(self, name: str, records: list[dict[str, Any]], bank: SkillBank):
        self.name, self.bank = name, bank
        self.train: dict[int, dict[str, float]] = {r["step"]: r["metrics"] for r in records if r["kind"] == "train"}
        self.validation: dict[int, dict[str, float]] = {
            r["step"]: r["metrics"] for r in records if r["kind"] == "validation"
        }
        self.spans = phase_spans(self.series("siri/phase"))
        self.first = min([*self.train, *self.validation])
        self.last = max([*self.train, *self.validation])

    def series(self, metric: str, kind: str = "train") -> Series:
        """A metric over the steps that logged a number for it."""
        source = self.train if kind == "train" else self.validation
        points = [(step, m[metric]) for step, m in sorted(source.items()) if m.get(metric) is not None]
        return Series(np.array([s for s, _ in points], dtype=int), np.array([v for _, v in points], dtype=float))

    def span(self, phase: str) -> PhaseSpan | None:
        """The steps of a phase, None when the run never was in it."""
        return next((span for span in self.spans if span.phase == phase), None)

    @cached_property
    def promoted(self) -> list[Skill]:
        """Skills that were active at some time, in order of promotion."""
        found = [(d.step, skill) for skill in self.bank.skills.values() for d in skill.decisions if d.after == ACTIVE]
        return [skill for _, skill in sorted(found, key=lambda pair: (pair[0], pair[1].skill_id))]

    @cached_property
    def evidence(self) -> list[tuple[Skill, Evidence]]:
        """Every paired group of the run, by step."""
        listed = [(skill, e) for skill in self.bank.skills.values() for e in skill.evidence]
        return sorted(listed, key=lambda pair: pair[1].step)

    def validation_of(self, task_type: str) -> Series:
        """Validation success of a category that has the task type's name; empty where there is none."""
        return self.series(f"siri/val/success/{task_type}", "validation")


def read_story(run: Path) -> RunStory:
    """Read a run's folder.

    Raises:
        FileNotFoundError: it holds no metrics file.
        ValueError: the metrics file is empty or damaged.
        BankFileError: the bank's file is damaged; the message names the line.
    """
    path, bank = RunFolder(run).metrics, RunFolder(run).bank
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the run's folder (trainer.default_local_dir)")
    records = read_metrics(path)
    if not records:
        raise ValueError(f"{path}: holds no metrics yet; the run has not finished a step")
    # A run on another trainer mode, or one that ended before its first step did, has no bank.
    return RunStory(run.resolve().name, records, load_bank(bank, ANY_LENGTH) if bank.is_file() else SkillBank())


def phase_spans(phase: Series) -> list[PhaseSpan]:
    """The phases a run went through, from the metric `siri/phase`."""
    spans: list[PhaseSpan] = []
    for step, index in zip(phase.steps.tolist(), phase.values.tolist(), strict=True):
        name = PHASES[int(index)]
        if spans and spans[-1].phase == name:
            spans[-1] = PhaseSpan(name, spans[-1].first, step)
        else:
            spans.append(PhaseSpan(name, step, step))
    return spans


def utility_paths(bank: SkillBank) -> dict[str, UtilityPath]:
    """Every tested skill's utility over the run: the bank's records, played again under its own rule."""
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
