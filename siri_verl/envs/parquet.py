# SPDX-License-Identifier: Apache-2.0
"""Reads columns of the parquet files that `data.train_files` and `data.val_files` name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class ParquetError(ValueError):
    """A parquet file is missing, unreadable, or lacks a column. Callers put the name of the file before it."""


def file_names(files: str | Sequence[str]) -> list[str]:
    """The names in a setting that takes one file or several."""
    return [files] if isinstance(files, str) else [str(file) for file in files]


def read_rows(
    path: Path, columns: Sequence[str], optional: Sequence[str] = ()
) -> tuple[list[str], list[dict[str, Any]]]:
    """Read some columns of a parquet file.

    Args:
        path: the file.
        columns: names of columns that it must have.
        optional: names of further columns, read if they are there.

    Returns:
        (names of all columns of the file, rows with the columns read).

    Raises:
        ParquetError: the file is missing or unreadable, or lacks a column.
    """
    import pyarrow.parquet

    if not path.is_file():
        raise ParquetError("no such file")
    try:
        table = pyarrow.parquet.read_table(path)
    except Exception as error:  # pyarrow raises errors of many kinds
        raise ParquetError(f"not readable as parquet ({error})") from error
    names = list(table.column_names)
    absent = [name for name in columns if name not in names]
    if absent:
        raise ParquetError(f"column {absent[0]!r} is missing (found {', '.join(names)})")
    return names, table.select([name for name in (*columns, *optional) if name in names]).to_pylist()
