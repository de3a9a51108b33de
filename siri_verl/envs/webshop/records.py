# SPDX-License-Identifier: Apache-2.0
"""Reading the official JSON files: whole, or record by record without holding gigabytes in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from siri_verl.envs.webshop.product import DataError

_CHUNK = 1 << 22


def _open_text(path: Path, what: str) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {what}.")
    return path.open(encoding="utf-8")


def read_object(path: Path | str, what: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        DataError: missing, not JSON, or not an object; `what` says what the file should hold.
    """
    path = Path(path)
    with _open_text(path, what) as file:
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
        progress: called with the number of characters read so far.

    Raises:
        DataError: missing, not an array, or broken JSON; the message names the record where it broke.
    """
    path = Path(path)
    decoder = json.JSONDecoder()
    with _open_text(path, what) as file:
        buffer, at, number, total, ended = "", 0, 0, 0, False

        def broken(reason: str) -> DataError:
            return DataError(f"{path}: record {number}: {reason}; expected {what}.")

        def fill() -> None:
            nonlocal buffer, at, total, ended
            try:
                chunk = file.read(_CHUNK)
            except UnicodeDecodeError as error:
                raise broken(f"not UTF-8 text ({error})") from None
            buffer, at, total, ended = buffer[at:] + chunk, 0, total + len(chunk), not chunk
            if progress is not None:
                progress(total)

        def next_sign() -> str:
            nonlocal at
            while True:
                while at < len(buffer) and buffer[at] in " \t\r\n":
                    at += 1
                if at < len(buffer) or ended:
                    return buffer[at : at + 1]
                fill()

        if next_sign() != "[":
            raise broken(f"the file starts with {next_sign()!r}, not with a JSON array")
        at += 1
        while (sign := next_sign()) != "]":
            if number:
                if sign != ",":
                    raise broken(
                        f"a comma or the closing bracket is missing, found {sign!r}" if sign else "the file ends early"
                    )
                at += 1
                next_sign()
            while True:
                try:
                    record, stop = decoder.raw_decode(buffer, at)
                except json.JSONDecodeError as error:
                    if ended:
                        raise broken(f"not valid JSON ({error.msg})") from None
                    fill()
                    continue
                if stop == len(buffer) and not ended:  # a number may go on in the next chunk
                    fill()
                    continue
                break
            yield number, record
            at, number = stop, number + 1
        at += 1
        if next_sign():
            raise broken("there is text after the array's end")


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
