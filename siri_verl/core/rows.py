# SPDX-License-Identifier: Apache-2.0
"""Columns of a row table: reading, checking and coding them, with errors that name the column and the row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatRows = NDArray[np.float64]
IntRows = NDArray[np.int64]
BoolRows = NDArray[np.bool_]


def as_list(what: str, column: Any, hint: str = "") -> list[Any]:
    """The column as a list. `what` (for example "gigpo: reward") opens every error message here."""
    if column is None:
        raise ValueError(f"{what} is None, expected one entry per row{hint}")
    return column.tolist() if hasattr(column, "tolist") else list(column)


def check_lengths(owner: str, columns: Mapping[str, Sequence[Any]]) -> int:
    """The common length of the columns.

    Raises:
        ValueError: two lengths differ; the message names both columns.
    """
    (first, reference), *others = columns.items()
    for name, column in others:
        if len(column) != len(reference):
            raise ValueError(
                f"{owner}: {name} has {len(column)} rows, {first} has {len(reference)}; "
                "every column needs one entry per row"
            )
    return len(reference)


def missing(value: Any, blank: bool = True) -> bool:
    """Whether an entry is None or NaN; with `blank` also blank text."""
    absent = value is None or (isinstance(value, float) and value != value)
    return absent or (blank and isinstance(value, str) and not value.strip())


def check_present(
    what: str,
    column: Sequence[Any],
    rows: Sequence[int] | IntRows | None = None,
    hint: str = "",
    blank: bool = True,
) -> None:
    """Refuse missing entries.

    Args:
        blank: blank text counts as missing.

    Raises:
        ValueError: an entry is missing; the message names the first such row and how many there are.
    """
    absent = [i for i, value in enumerate(column) if missing(value, blank)]
    if absent:
        row = absent[0] if rows is None else rows[absent[0]]
        raise ValueError(
            f"{what} of row {row} is missing ({column[absent[0]]!r}; {len(absent)} of {len(column)} rows){hint}"
        )


def factorize(
    what: str, keys: Sequence[Any], rows: Sequence[int] | IntRows | None = None
) -> tuple[IntRows, list[Hashable]]:
    """Integer codes (rows,) of hashable keys in order of appearance, and the keys by code.

    Args:
        rows: the row numbers to name in an error, when they are not 0, 1, 2, ...
    """
    seen: dict[Any, int] = {}
    codes = np.empty(len(keys), dtype=np.int64)
    for i, key in enumerate(keys):
        try:
            codes[i] = seen.setdefault(key, len(seen))
        except TypeError:
            row = i if rows is None else rows[i]
            raise ValueError(f"{what} of row {row} is not hashable ({key!r:.80}); pass text or a tuple") from None
    return codes, list(seen)


def numbers(what: str, column: Any, rows: Sequence[int] | IntRows | None = None) -> FloatRows:
    """The column as finite float64 (rows,)."""
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be one number per row, got {str(column)[:80]}") from None
    if values.ndim != 1:
        raise ValueError(f"{what} must be one number per row, got an array of shape {values.shape}")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = bad[0] if rows is None else rows[bad[0]]
        raise ValueError(f"{what} of row {row} is {values[bad[0]]} ({len(bad)} such rows); it must be finite")
    return values


def flags(what: str, column: Any, rows: Sequence[int] | IntRows | None = None) -> BoolRows:
    """The column as booleans (rows,); accepts bools and the numbers 0 and 1."""
    for i, value in enumerate(column):
        # `in` would also let "" or None through as falsy; equality with 0 and 1 does not.
        if not (value == 0 or value == 1):
            row = i if rows is None else rows[i]
            raise ValueError(f"{what} of row {row} is {value!r}; it must be True or False")
    return np.asarray(column, dtype=bool)
