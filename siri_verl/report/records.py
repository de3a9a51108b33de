# SPDX-License-Identifier: Apache-2.0
"""The metrics of a run as records `{"step", "kind", "metrics"}`: from a run's folder, or from a file that verl's file
logger wrote (`trainer.logger=[file]`, verl/utils/tracking.py, FileLogger)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics

GIVE = "give a run's folder (trainer.default_local_dir), or the .jsonl file of verl's file logger"


def read_records(run: Path) -> list[dict[str, Any]]:
    """The records of a run by step; at one step, training comes before validation.

    Args:
        run: its folder, or a file of verl's file logger.

    Raises:
        FileNotFoundError: there is no metrics file.
        ValueError: a line is no record; the message names it.
    """
    path = run if run.is_file() else RunFolder(run).metrics
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {GIVE}")
    try:
        return read_metrics(path)
    except ValueError as error:
        raise ValueError(f"{error}; {GIVE}") from error


def run_name(run: Path) -> str:
    """The name of a run: of its folder, or of its file without the ending."""
    return run.stem if run.is_file() else run.resolve().name
