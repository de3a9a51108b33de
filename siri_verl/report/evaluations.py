# SPDX-License-Identifier: Apache-2.0
"""Evaluations that lie in a run's folder (`siri-verl eval`), as rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siri_verl.evaluation import summary
from siri_verl.files import parse_json
from siri_verl.runs.folder import RunFolder


@dataclass(frozen=True)
class EvaluationRow:
    """One evaluation.

    Attributes:
        name: its folder.
        model, panel, sampling, shown: what was evaluated, on what, how, and which skills were shown.
        numbers: as `siri-verl eval` wrote them (docs/run_folder.md).
    """

    name: str
    model: str
    panel: str
    sampling: str
    shown: str
    numbers: dict[str, Any]


def read_evaluations(run: Path) -> list[EvaluationRow]:
    """The finished evaluations of a run, by name.

    Raises:
        ValueError: a file is damaged or of another version; names the file.
    """
    return [_read(found.summary) for found in RunFolder(run).evaluations() if found.summary.is_file()]


def _read(file: Path) -> EvaluationRow:
    again = "remove it, or write it again with siri-verl eval"
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
        kind = content["schema"], content["version"]
        if kind != (summary.SCHEMA, summary.VERSION):
            raise ValueError(f"schema and version are {kind}, expected {(summary.SCHEMA, summary.VERSION)}")
        settings = content["settings"]
        panel, sampling = settings["panel"], settings["sampling"]
        words = ", ".join(f"{name} {value}" for name, value in sampling.items() if value not in (None, -1))
        return EvaluationRow(
            name=file.parent.name,
            model=str(settings["model"]["name"]),
            panel=f"{panel['split'] or 'panel'}: {panel['tasks']} tasks x {settings['repeats']}",
            sampling=words,
            shown="skills" if settings["bank"] else "plain prompt",
            numbers={name: content[name] for name in ("success", "score", "samples", "tasks", "turns")},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: no summary of an evaluation ({error!r}); {again}") from error
