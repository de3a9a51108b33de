# SPDX-License-Identifier: Apache-2.0
"""Rows that were internalized and may be learned again, in the checkpoints of a run: JSON lines, one row a line."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.files import parse_json, write_text_atomically

VERSION = 1


@dataclass(frozen=True)
class PastRow:
    """An internalized row of an earlier iteration.

    Attributes:
        step: training step in which its reply was sampled.
        prompt: token ids of the plain prompt.
        response: token ids of the cut reply.
        span: first and one past the last learned token of the response.
        action: the same of the action.
        weight: w of the row; its return where weights are computed anew at each replay (row_weight=return).
        old: o of each token of the response, when it was sampled.
        teacher: t of each; empty where no formula has it.
        top_ids: K ids for each token of the span, from `encode`; empty but under target=top_k.
        top_log_probs: the teacher's log-probs of these, or of the whole vocabulary; empty under target=sampled.
    """

    step: int
    prompt: list[int]
    response: list[int]
    span: tuple[int, int]
    action: tuple[int, int]
    weight: float
    old: list[float]
    teacher: list[float]
    top_ids: str = ""
    top_log_probs: str = ""


def encode(values: np.ndarray) -> str:
    """The bytes of an array of 32-bit numbers as base64, which is shorter than digits and exact."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def decode(text: str, kind: type, tokens: int) -> np.ndarray:
    """(tokens, K) the array that `encode` got."""
    values = np.frombuffer(base64.b64decode(text), dtype=np.dtype(kind).newbyteorder("<"))
    return values.astype(kind).reshape(tokens, -1 if len(values) else 0)


def write_replay(path: Path, rows: Sequence[PastRow]) -> None:
    """Replace the file. Numbers are written with all their digits, so that reading gives them back exactly."""
    lines = [{"kind": "replay", "version": VERSION, "rows": len(rows)}, *map(_as_line, rows)]
    write_text_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))


def _as_line(row: PastRow) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if value != ""}


def read_replay(path: Path) -> list[PastRow]:
    """The rows of a checkpoint; none where it has no such file, since its run did not replay.

    Raises:
        ValueError: the file is of another version, torn, or a line is not a row.
    """
    if not path.exists():
        return []
    number = 0
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        head = parse_json(lines[0]) if lines else {}
        if head.get("version") != VERSION:
            raise ValueError(f"version {head.get('version')!r}, expected {VERSION}")
        if head["rows"] != len(lines) - 1:
            raise ValueError(f"{len(lines) - 1} rows, expected {head['rows']}")
        rows = []
        for number, line in enumerate(lines[1:], 2):
            values = parse_json(line)
            rows.append(PastRow(**{**values, "span": tuple(values["span"]), "action": tuple(values["action"])}))
        return rows
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path}, line {max(number, 1)}: {error}; restore the file, resume from an earlier checkpoint, or set "
            "siri.internalization.replay=0"
        ) from error
