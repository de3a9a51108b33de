# SPDX-License-Identifier: Apache-2.0
"""Reading the official JSON files: whole, or record by record without holding gigabytes in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from siri_verl.envs.webshop.product import DataError

_CHUNK = 1 << 22


def _open(path: Path, what: str) -> BinaryIO:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {what}.")
    return path.open("rb")


def read_object(path: Path | str, what: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        what: what the file should hold, for the message of an error.

    Raises:
        DataError: the file is missing, is not JSON, or holds no object.
    """
    path = Path(path)
    with _open(path, what) as file:
        try:
            value = json.load(file)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not valid JSON ({error}); expected {what}.") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a JSON {type(value).__name__}; expected {what}.")
    return value


def iterate_array(
    path: Path | str, what: str, progress: Callable[[int], None] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (record number from 0, record) of a file that holds one JSON array, a few megabytes at a time.

    Args:
        what: what the file should hold, for the message of an error.
        progress: called with the number of bytes read so far.

    Raises:
        DataError: the file is missing, holds no array, or is broken JSON (`NaN`, `Infinity` and whole numbers beyond 64
            bits count as broken); the message names the record where it broke.
    """
    path = Path(path)
    number = 0
    with _open(path, what) as file:
        while (sign := file.read(1)).isspace():
            pass
        if sign != b"[":
            found = sign.decode(errors="replace")
            raise DataError(
                f"{path}: record 0: the file starts with {found!r}, not with a JSON array; expected {what}."
            )
        file.seek(0)
        try:
            for record in ijson.items(_Reader(file, progress), "item", buf_size=_CHUNK, use_float=True):
                yield number, record
                number += 1
        except (ijson.JSONError, UnicodeDecodeError) as error:
            reason = f"not valid JSON ({str(error).splitlines()[0]})"
            if _ends_between_records(path):
                reason = "the file ends early"
            raise DataError(f"{path}: record {number}: {reason}; expected {what}.") from None


class _Reader:
    """A binary file that reports how far it was read."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self._file, self._progress = file, progress

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        if self._progress is not None:
            self._progress(self._file.tell())
        return chunk


def _ends_between_records(path: Path) -> bool:
    """Whether a broken file is a sequence of whole records without the closing bracket."""
    depth = 0
    with path.open("rb") as file:
        try:
            for event, _ in ijson.basic_parse(file):
                depth += event.startswith("start_") - event.startswith("end_")
        except ijson.JSONError as error:
            return depth == 1 and "premature EOF" in str(error)
    return False


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
