# SPDX-License-Identifier: Apache-2.0
"""A run's folder, read once for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from siri_verl.core.rules import ACTIVE, CANDIDATE, RETIRED
from siri_verl.report.curve import CurvePoint, read_curve, run_names
from siri_verl.report.story import RunStory, read_story
from siri_verl.runs.config import flat_config
from siri_verl.runs.record import read_starts


@dataclass(frozen=True)
class Run:
    """What the report needs of a run.

    Attributes:
        name: unique among the report's runs.
        folder: the run's.
        story: metrics and bank, step by step.
        config: settings by dotted name; empty where the run kept none.
        starts: what made it (siri_verl/runs/record.py); empty where it kept no record.
        curve: validations with success, by step; may be empty.
    """

    name: str
    folder: Path
    story: RunStory
    config: Mapping[str, Any]
    starts: Sequence[Mapping[str, Any]]
    curve: Sequence[CurvePoint]

    @property
    def seed(self) -> int | None:
        """The run's seed, None where neither settings nor record name it."""
        if self.config.get("siri.seed") is not None:
            return int(self.config["siri.seed"])
        return int(self.starts[0]["seed"]) if self.starts else None

    @property
    def steps(self) -> int:
        """Training steps finished."""
        return max(self.story.train, default=0)

    @property
    def env_steps(self) -> int | None:
        """Environment steps of training, both arms counted; None where the run did not count them."""
        total = self.story.series("siri/env_steps_total")
        return int(total.values[-1]) if len(total) else None

    @cached_property
    def bank_counts(self) -> dict[str, int]:
        """Skills mined, promoted, retired, and active at the end."""
        skills = self.story.bank.skills.values()
        status = Counter(skill.status for skill in skills)
        return {
            "mined": len(skills),
            "promoted": len(self.story.promoted),
            "retired": status[RETIRED],
            "active": status[ACTIVE],
            "candidate": status[CANDIDATE],
        }

    @property
    def shows_skills_in_validation(self) -> bool:
        """A control whose validation is not of the plain policy."""
        return bool(self.config.get("siri.control.skills_in_prompt"))


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        FileNotFoundError: no such folder, or it holds no metrics.
        ValueError: metrics, settings, record or bank are damaged; the message names the file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a run's folder (trainer.default_local_dir)")
    story = read_story(folder)
    judged = [metrics for metrics in story.validation.values() if "siri/val/success" in metrics]
    curve = read_curve(folder) if judged and len(judged) == len(story.validation) else []
    return Run(folder.resolve().name, folder, story, flat_config(folder), read_starts(folder), curve)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read several, each once, with names that tell them apart.

    Raises:
        ValueError: none was given, or one was given twice.
    """
    if not folders:
        raise ValueError("report: no run was given; give one or more run folders (trainer.default_local_dir)")
    names = run_names(folders)
    return [replace(read_run(folder), name=name) for folder, name in zip(folders, names, strict=True)]
