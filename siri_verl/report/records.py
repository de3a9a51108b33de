# SPDX-License-Identifier: Apache-2.0
"""The metrics of a run as records `{"step", "kind", "metrics"}`: from a run's folder, or from a file that verl's file
logger wrote (`trainer.logger=[file]`, verl/utils/tracking.py, FileLogger)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from siri_verl.files import read_json_lines
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics

GIVE = "give a run's folder (trainer.default_local_dir), or the .jsonl file of verl's file logger"
_VALIDATION = ("val-core/", "val-aux/", "val/", "siri/val/")


def read_records(run: Path) -> list[dict[str, Any]]:
    """The records of a run by step; at one step, training comes before validation.

    Args:
        run: its folder, or a file of verl's file logger.

    Raises:
        FileNotFoundError: there is no metrics file.
        ValueError: a line is no record; the message names it.
    """
    if run.is_file():
        return _read_verl(run)
    path = RunFolder(run).metrics
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {GIVE}")
    return read_metrics(path)


def run_name(run: Path) -> str:
    """The name of a run: of its folder, or of its file without the ending."""
    return run.stem if run.is_file() else run.resolve().name


def _read_verl(path: Path) -> list[dict[str, Any]]:
    """verl writes one line per step, `{"step": 5, "data": {...}}`, with the metrics of training and of validation.

    Where a resumed run repeated a step, the last line counts. Values that are not numbers are left out.
    """
    latest: dict[tuple[str, int], dict[str, Any]] = {}
    for number, line in read_json_lines(path, b'{"step":'):
        try:
            step, data = int(line["step"]), dict(line["data"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: no record of verl's file logger ({error!r}); {GIVE}") from error
        numbers = {n: float(v) for n, v in data.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        validation = {name: value for name, value in numbers.items() if name.startswith(_VALIDATION)}
        train = {name: value for name, value in numbers.items() if name not in validation}
        for kind, metrics in (("train", train), ("validation", validation)):
            if metrics:
                latest[kind, step] = {"step": step, "kind": kind, "metrics": metrics}
    return sorted(latest.values(), key=lambda r: (r["step"], r["kind"]))
