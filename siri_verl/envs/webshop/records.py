# SPDX-License-Identifier: Apache-2.0
"""Reading the official JSON files: whole, or record by record without holding gigabytes in memory."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from siri_verl.envs.webshop.product import DataError

MAX_RECORD = 1 << 24
"""Characters of a record of an array. The largest official record has less than a hundredth of it."""

_CHUNK = 1 << 22
_BLANK = re.compile(r"[ \t\r\n]*")
_MARK = re.compile(r'\\.?|["\[\]{},]', re.DOTALL)


def _open(path: Path, what: str) -> BinaryIO:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected {what}.")
    return path.open("rb")


def read_object(path: Path | str, what: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        what: what the file should hold, for the message of an error.

    Raises:
        DataError: the file is missing, is not JSON, is nested too deeply, or holds no object.
    """
    path = Path(path)
    with _open(path, what) as file:
        try:
            value = json.load(file)
        except (ValueError, RecursionError) as error:  # ValueError: also UnicodeDecodeError and numbers too long
            raise DataError(f"{path}: not valid JSON ({error}); expected {what}.") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a JSON {type(value).__name__}; expected {what}.")
    return value


def iterate_array(
    path: Path | str, what: str, progress: Callable[[int], None] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (record number from 0, record) of a file that holds one JSON array, a few megabytes at a time.

    Valid JSON and its values are defined by Python's `json`, so `NaN` and `"\\ud83d"` are accepted. A broken record
    is refused where its brackets close, or after `MAX_RECORD` characters; the file is not read further.

    Args:
        what: what the file should hold, for the message of an error.
        progress: called with the number of bytes read so far.

    Raises:
        DataError: the file is missing, holds no array, or is broken JSON; the message names the record where it broke.
    """
    path = Path(path)
    number = 0
    with _open(path, what) as file:
        text = _Text(file, progress)
        try:
            if (sign := text.next_sign()) != "[":
                raise _Broken(f"the file starts with {sign!r}, not with a JSON array")
            text.at += 1
            while (sign := text.next_sign()) != "]":
                if number:
                    if sign != ",":
                        raise _Broken(
                            f"a comma or the closing bracket is missing, found {sign!r}"
                            if sign
                            else "the file ends early"
                        )
                    text.at += 1
                    text.next_sign()
                yield number, text.value()
                number += 1
            text.at += 1
            if sign := text.next_sign():
                raise _Broken(f"there is text after the array's end, found {sign!r}")
        except _Broken as error:
            raise DataError(f"{path}: record {number}: {error}; expected {what}.") from None


class _Broken(ValueError):
    """What is wrong with a record."""


class _Text:
    """The part of a file of UTF-8 text that is being read: from the end of the last value on."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self._file, self._progress = file, progress
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._parse = json.JSONDecoder().raw_decode
        self._text, self._ended = "", False
        self.at = 0
        """Where reading continues."""

    def next_sign(self) -> str:
        """Skip white space; the character that follows, "" at the end of the file."""
        while True:
            self.at = _BLANK.match(self._text, self.at).end()
            if self.at < len(self._text) or self._ended:
                return self._text[self.at : self.at + 1]
            self._fill()

    def value(self) -> Any:
        """The JSON value that begins here; reading continues after it."""
        # An object that is there in full, as most are, is parsed at once. A number may go on in the next chunk.
        if self._text[self.at : self.at + 1] in ("{", "["):
            try:
                value, self.at = self._parse(self._text, self.at)
                return value
            except (ValueError, RecursionError):
                pass  # broken, or unfinished
        self._text, self.at = self._text[self.at :], 0
        extent = _Extent()
        while not extent.ends(self._text) and not self._ended:
            if len(self._text) > MAX_RECORD:
                raise _Broken(f"not valid JSON (it does not end within {MAX_RECORD:,} characters)")
            self._fill()
        try:
            value, self.at = self._parse(self._text, 0)
        except (ValueError, RecursionError) as error:
            raise _Broken(f"not valid JSON ({error})") from None
        return value

    def _fill(self) -> None:
        """Read on; what lies before `at` is dropped."""
        chunk = self._file.read(_CHUNK)
        try:
            self._text, self.at = self._text[self.at :] + self._decode(chunk, not chunk), 0
        except UnicodeDecodeError as error:
            raise _Broken(f"not UTF-8 text ({error})") from None
        self._ended = not chunk
        if self._progress is not None:
            self._progress(self._file.tell())


class _Extent:
    """Finds out whether a text holds the JSON value at its start in full, valid or not, by brackets and quotes."""

    def __init__(self) -> None:
        self._at, self._depth, self._quoted = 0, 0, False

    def ends(self, text: str) -> bool:
        """Whether the value is there in full. Later calls give the same text with more behind it."""
        for found in _MARK.finditer(text, self._at):
            mark = found[0]
            if mark == "\\":  # the text ends within an escape
                self._at = found.start()
                return False
            if self._quoted:
                self._quoted = mark != '"'
            elif mark == '"':
                self._quoted = True
            elif mark in ("[", "{"):
                self._depth += 1
            elif self._depth:
                self._depth -= mark in ("]", "}")
                if not self._depth:
                    return True
            elif mark in (",", "]", "}"):  # after a number, text or name
                return True
        self._at = len(text)
        return False


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
