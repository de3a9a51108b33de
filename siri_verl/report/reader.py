# SPDX-License-Identifier: Apache-2.0
"""A run, read once: metrics by step, phases, validation curve, skill bank, settings and starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.core.phases import PHASES
from siri_verl.core.rules import STATUSES
from siri_verl.report.curve import SUCCESS, CurvePoint, curve_points, measure_of
from siri_verl.report.records import GIVE, read_records, run_name
from siri_verl.runs.config import flat_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.record import read_starts
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import ANY_LENGTH, load_bank
from siri_verl.skills.skill import Evidence, Skill

Metrics = Mapping[int, Mapping[str, float]]
"""Training step -> metric -> value."""


@dataclass(frozen=True)
class PhaseSpan:
    """Steps `first` to `last`, both included, in one phase."""

    phase: str
    first: int
    last: int

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Series:
    """One metric over the steps that logged a number for it. Arrays are (points,)."""

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, first: int, last: int) -> Series:
        """The steps `first` to `last`, both included."""
        inside = (self.steps >= first) & (self.steps <= last)
        return Series(self.steps[inside], self.values[inside])


@dataclass(frozen=True, eq=False)
class Run:
    """A run.

    Attributes:
        name: unique among the runs that are read together.
        folder: the run's; of a plain verl run, the file of verl's file logger.
        train: metrics of training steps.
        validation: metrics of validations.
        bank: the skill bank; an empty one where the run has none.
        config: settings by dotted name; empty where the run has no settings file.
        starts: command, machine and versions of each start (siri_verl/runs/record.py); empty without a record.
        curve: validations by step; empty where one has neither success nor a core metric of verl.
    """

    name: str
    folder: Path
    train: Metrics
    validation: Metrics
    bank: SkillBank
    config: Mapping[str, Any]
    starts: Sequence[Mapping[str, Any]]
    curve: Sequence[CurvePoint]

    def series(self, metric: str, kind: str = "train") -> Series:
        """A metric over the steps that logged a number for it; `kind` is `train` or `validation`."""
        source = self.train if kind == "train" else self.validation
        points = [(step, m[metric]) for step, m in sorted(source.items()) if m.get(metric) is not None]
        return Series(np.array([s for s, _ in points], dtype=int), np.array([v for _, v in points], dtype=float))

    def train_metrics(self, prefix: str) -> set[str]:
        """Names of the training metrics that begin with a prefix."""
        return {name for metrics in self.train.values() for name in metrics if name.startswith(prefix)}

    @property
    def first(self) -> int:
        """The first step with metrics."""
        return min([*self.train, *self.validation])

    @property
    def last(self) -> int:
        """The last step with metrics."""
        return max([*self.train, *self.validation])

    @property
    def steps(self) -> int:
        """Training steps finished."""
        return max(self.train, default=0)

    @property
    def env_steps(self) -> int | None:
        """Environment steps of training, both arms counted; None where the run did not count them."""
        total = self.series("siri/env_steps_total")
        return int(total.values[-1]) if len(total) else None

    @property
    def seed(self) -> int | None:
        """The run's seed, None where neither settings nor record name it."""
        if self.config.get("siri.seed") is not None:
            return int(self.config["siri.seed"])
        return int(self.starts[0]["seed"]) if self.starts else None

    @property
    def measure(self) -> str:
        """What the curve shows: `siri/val/success`, or verl's variable `acc` or `reward`; "" without a curve."""
        return measure_of(self.validation[self.curve[-1].step]) if self.curve else ""

    @property
    def shows_skills_in_validation(self) -> bool:
        """Whether it is the control whose validation has skills in the prompt."""
        return bool(self.config.get("siri.control.skills_in_prompt"))

    @cached_property
    def spans(self) -> list[PhaseSpan]:
        """The phases of the run, in order."""
        return phase_spans(self.series("siri/phase"))

    def span(self, phase: str) -> PhaseSpan | None:
        """The steps of a phase, None when the run was never in it."""
        return next((span for span in self.spans if span.phase == phase), None)

    @cached_property
    def evidence(self) -> list[tuple[Skill, Evidence]]:
        """Every paired group of the run, by step."""
        listed = [(skill, e) for skill in self.bank.skills.values() for e in skill.evidence]
        return sorted(listed, key=lambda pair: pair[1].step)

    @cached_property
    def promoted(self) -> list[Skill]:
        """Skills that were active at some time, in order of promotion."""
        found = [skill for skill in self.bank.skills.values() if skill.was_active]
        return sorted(found, key=lambda skill: (skill.decisions[0].step, skill.skill_id))

    @cached_property
    def bank_counts(self) -> dict[str, int]:
        """Skills mined and promoted, and skills by status at the end."""
        status = Counter(skill.status for skill in self.bank.skills.values())
        counts = {name: status[name] for name in STATUSES}
        return {"mined": len(self.bank), "promoted": len(self.promoted), **counts}

    def validation_of(self, task_type: str) -> Series:
        """Validation success of the category that is named like the task type; empty where there is none."""
        return self.series(f"{SUCCESS}/{task_type}", "validation")


def phase_spans(phase: Series) -> list[PhaseSpan]:
    """The phases of a run, from the metric `siri/phase`."""
    spans: list[PhaseSpan] = []
    for step, index in zip(phase.steps.tolist(), phase.values.tolist(), strict=True):
        name = PHASES[int(index)]
        if spans and spans[-1].phase == name:
            spans[-1] = PhaseSpan(name, spans[-1].first, step)
        else:
            spans.append(PhaseSpan(name, step, step))
    return spans


def run_names(folders: Sequence[Path]) -> list[str]:
    """A unique name for each run: the shortest end of its path that no other run has; a file without its ending.

    Raises:
        ValueError: one was given twice.
    """
    paths = [folder.resolve().with_name(run_name(folder)) for folder in folders]
    twice = [str(path) for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} was given twice; give every run once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read a run.

    Args:
        folder: the run's, or a file of verl's file logger.
        name: None: that of the folder, or of the file without its ending.

    Raises:
        FileNotFoundError: no such folder or file, or it holds no metrics.
        ValueError: metrics, settings, record or bank are damaged, or the metrics are empty; names the file.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder; {GIVE}")
    records, bank = read_records(folder), RunFolder(folder).bank
    if not records:
        file = folder if folder.is_file() else RunFolder(folder).metrics
        raise ValueError(f"{file}: holds no metrics yet; the run has not finished a step")
    validation = {r["step"]: r["metrics"] for r in records if r["kind"] == "validation"}
    has_curve = bool(validation) and all(map(measure_of, validation.values()))
    return Run(
        name=name or run_name(folder),
        folder=folder,
        train={r["step"]: r["metrics"] for r in records if r["kind"] == "train"},
        validation=validation,
        # A run of another trainer, or one that ended before its first step did, has no bank.
        bank=load_bank(bank, ANY_LENGTH) if bank.is_file() else SkillBank(),
        config=flat_config(folder),
        starts=read_starts(folder),
        curve=curve_points(folder, records) if has_curve else [],
    )


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read several runs and give them unique names. For errors see also `read_run`.

    Raises:
        ValueError: none was given, or one was given twice.
    """
    if not folders:
        raise ValueError("report: no run was given; give one or more run folders (trainer.default_local_dir)")
    return [read_run(folder, name) for folder, name in zip(folders, run_names(folders), strict=True)]
