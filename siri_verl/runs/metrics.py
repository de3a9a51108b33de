# SPDX-License-Identifier: Apache-2.0
"""A JSON-lines copy of every metric, whatever loggers are configured; appended to, so that a resumed run keeps its
past. What lies after the step it resumes from is moved to `metrics.abandoned.jsonl`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.files import cut_torn_line, read_json_lines

METRICS_FILE = "metrics.jsonl"
"""In a run's folder."""


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
        """Append one line. Values that are not numbers are left out."""
        numbers = {k: _plain(v) for k, v in metrics.items() if isinstance(v, int | float | np.number)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": int(step), "kind": kind, "metrics": numbers}) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file. Where a resumed run repeated a step, its last line counts.

    Lines that a crash tore are passed over: they are the beginning of a record, never a whole one.

    Raises:
        ValueError: a line is no record of metrics; the message names it.
    """
    latest: dict[tuple[str, int], dict[str, Any]] = {}
    for number, record in read_json_lines(path, b'{"step": ', b"}}"):
        try:
            latest[(record["kind"], record["step"])] = record
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no record of metrics ({error!r})") from error
    return sorted(latest.values(), key=lambda r: (r["step"], r["kind"]))
