# SPDX-License-Identifier: Apache-2.0
"""Turns inside a row that holds a whole trajectory: the runs of ones of its response mask.

An agent loop that keeps one growing conversation returns one row per trajectory (verl's ToolAgentLoop). Its response
contains the tokens of the model (mask 1) and those of the environment (mask 0), so each run of ones is one turn.
Advantages are computed per turn, as if every turn were a row of its own, and written on the tokens of its run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siri_verl.core.rows import FloatRows, IntRows


@dataclass(frozen=True)
class Segments:
    """Turns and where they lie, ordered by row and place. All arrays are (turns,).

    Attributes:
        row: the row.
        start: first token in the row's response.
        end: one past its last token.
    """

    row: IntRows
    start: IntRows
    end: IntRows

    def __len__(self) -> int:
        return len(self.row)


def runs(mask: Sequence[int]) -> list[tuple[int, int]]:
    """(first, one past the last) of each run of non-zero entries.

    Args:
        mask: (length,) of one row.
    """
    found = find_segments([mask])
    return list(zip(found.start.tolist(), found.end.tolist(), strict=True))


def find_segments(masks: Sequence[Any]) -> Segments:
    """The runs of non-zero entries of every row.

    Args:
        masks: rows of (length,) each; lengths may differ. Padding at a row's end is zeros.

    Raises:
        ValueError: a row is not one-dimensional.
    """
    rows, starts, ends = [], [], []
    for number, mask in enumerate(masks):
        values = np.asarray(mask)
        if values.ndim != 1:
            raise ValueError(f"segments: mask of row {number} has shape {values.shape}; it must be one-dimensional")
        edges = np.diff(np.concatenate(([0], (values != 0).astype(np.int8), [0])))
        first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        rows.append(np.full(len(first), number, dtype=np.int64))
        starts.append(first)
        ends.append(last)
    if not rows:
        nothing = np.zeros(0, dtype=np.int64)
        return Segments(nothing, nothing, nothing)
    return Segments(np.concatenate(rows), np.concatenate(starts), np.concatenate(ends))


def spread(values: Sequence[float] | NDArray[Any], segments: Segments, shape: tuple[int, int]) -> FloatRows:
    """One value per turn on every token of the turn, 0 elsewhere: (rows, length).

    Args:
        values: (turns,).
        segments: where the turns lie.
        shape: (rows, length) of the result; a turn that reaches beyond the length is cut.

    Raises:
        ValueError: not one value per turn.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.shape != segments.row.shape:
        raise ValueError(f"segments: {given.shape} values for {len(segments)} turns; give one per turn")
    out = np.zeros(shape)
    for row, start, end, value in zip(segments.row, segments.start, segments.end, given, strict=True):
        out[row, start:end] = value
    return out
