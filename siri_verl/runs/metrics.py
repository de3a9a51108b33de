# SPDX-License-Identifier: Apache-2.0
"""A JSON-lines copy of every metric, whatever loggers are configured. A resumed run appends to it; records of later
steps than the one it resumes from are moved to another file first (runs/writer.py).

The file of verl's own file logger (verl/utils/tracking.py, `FileLogger`) is read too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.files import cut_torn_line, encode, read_json_lines


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    return value


class MetricsLog:
    """Lines `{"step": int, "kind": "train" | "validation", "metrics": {name: number}}`."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(path)

    def write(self, kind: str, step: int, metrics: Mapping[str, Any]) -> None:
        """Append one line. Values that are not numbers are not written."""
        numbers = {k: _plain(v) for k, v in metrics.items() if isinstance(v, int | float | np.number)}
        with self.path.open("ab") as file:
            file.write(encode(json.dumps({"step": int(step), "kind": kind, "metrics": numbers}) + "\n"))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file by step. Where a resumed run repeated a step, the last record counts.

    An incomplete last line, which a crash leaves, is skipped.

    Raises:
        ValueError: a line is no record of metrics; the message names it.
    """
    latest: dict[tuple[str, int], dict[str, Any]] = {}
    for number, line in read_json_lines(path, b'{"step":', b"}}"):
        try:
            for record in _of_file_logger(line) if "data" in line else [line]:
                latest[(record["kind"], record["step"])] = record
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: no record of metrics ({error!r})") from error
    return sorted(latest.values(), key=lambda r: (r["step"], r["kind"]))


_VALIDATION = ("val-core/", "val-aux/", "val/", "siri/val/")


def _of_file_logger(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of a line `{"step": int, "data": {...}}`: verl logs a step together with its validation."""
    step, data = int(line["step"]), line["data"]
    numbers = {n: float(v) for n, v in data.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    validation = {name: value for name, value in numbers.items() if name.startswith(_VALIDATION)}
    train = {name: value for name, value in numbers.items() if name not in validation}
    kinds = {"train": train, "validation": validation}
    return [{"step": step, "kind": kind, "metrics": metrics} for kind, metrics in kinds.items() if metrics]
