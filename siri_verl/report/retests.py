# SPDX-License-Identifier: Apache-2.0
"""A re-test of skills as a table and as a JSON file, written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from siri_verl.core.statistics import PairedEffect
from siri_verl.evaluation.retest import RetestReport
from siri_verl.files import parse_json
from siri_verl.runs.folder import RunFolder

RETEST_VERSION = 1


@dataclass(frozen=True)
class Retest:
    """The file of a re-test.

    Attributes:
        file: its name.
        model: name of the model that was tested.
        level: coverage of the intervals.
        skills: one entry per skill, with `skill_id`, `task_type`, `block`, `success`.
        overall: all pairs together.
    """

    file: str
    model: str
    level: float
    skills: list[dict[str, Any]]
    overall: dict[str, Any]

    @property
    def policy(self) -> str:
        """The model in words: the recipes test the model that training began with under a name of its own."""
        return "starting policy" if self.file == RunFolder(Path()).retest("start").name else f"policy {self.model}"


@dataclass(frozen=True)
class RetestRow:
    """A skill in several re-tests.

    Attributes:
        skill_id, task_type, block: of the skill.
        effects: its `success` in each re-test; None where it was not tested.
    """

    skill_id: str
    task_type: str
    block: str
    effects: list[dict[str, Any] | None]


def side_by_side(retests: Sequence[Retest]) -> list[RetestRow]:
    """The skills of all re-tests, one row each."""
    by_id = [{skill["skill_id"]: skill for skill in retest.skills} for retest in retests]
    first: dict[str, dict[str, Any]] = {}
    for found in by_id:
        first = found | first
    return [
        RetestRow(
            skill_id,
            first[skill_id]["task_type"],
            first[skill_id]["block"],
            [found[skill_id]["success"] if skill_id in found else None for found in by_id],
        )
        for skill_id in sorted(first)
    ]


def retest_table(report: RetestReport) -> Table:
    """The results, one row per skill."""
    table = Table(title="skills re-tested on fresh tasks, in success units")
    for name in ("skill", "type"):
        table.add_column(name, no_wrap=True)
    for name in ("pairs", "tasks", "plain", "with skill", "effect", f"{report.level:.0%} interval", "Delta in the run"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("text")
    for result in report.skills:
        left_out = f" (+{result.left_out} left out)" if result.left_out else ""
        trained = "-" if result.trained_mean is None else f"{result.trained_mean:+.3f} of {result.trained_groups}"
        table.add_row(
            result.skill_id,
            Text(result.task_type),
            f"{result.success.pairs}{left_out}",
            *_cells(result.success),
            trained,
            Text(result.block),
        )
    table.add_section()
    table.add_row("all", "", str(report.overall.pairs), *_cells(report.overall), "", "")
    return table


def _cells(effect: PairedEffect) -> list[str | Text]:
    if not effect.pairs:
        return ["0", "-", "-", "-", "-"]
    style = "green" if effect.positive else "red" if effect.negative else "default"
    return [
        str(effect.tasks),
        f"{effect.plain:.3f}",
        f"{effect.skill:.3f}",
        Text(f"{effect.effect:+.3f}", style),
        f"{effect.low:+.3f} to {effect.high:+.3f}",
    ]


def report_json(report: RetestReport, about: Mapping[str, Any]) -> str:
    """The content of the file: `about` (model, sampling, panel, seed), the results, and every pair.

    A comparison without pairs has null in place of its numbers.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and value != value else value

    content = {"version": RETEST_VERSION, **about, **plain(asdict(report))}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def read_retests(run: Path) -> list[Retest]:
    """The re-tests in a run's folder that tested at least one skill.

    Raises:
        ValueError: a file is damaged or of another version; names the file.
    """
    found = []
    for file in RunFolder(run).retests():
        try:
            content = parse_json(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: no JSON ({error}); write it again with siri-verl skills retest") from error
        if not isinstance(content, dict) or "skills" not in content:
            continue  # a panel, whose name may begin like that of a re-test
        if content.get("version") != RETEST_VERSION:
            raise ValueError(
                f"{file}: version={content.get('version')!r}, this siri_verl reads {RETEST_VERSION}; write it again "
                "with siri-verl skills retest"
            )
        model = content.get("model") or {}
        name = str(model.get("name") or "no model")
        if content["skills"]:
            found.append(Retest(file.name, name, content["level"], content["skills"], content["overall"]))
    return found
