# SPDX-License-Identifier: Apache-2.0
"""Files that hold the old or the new content, never half of it; files of JSON lines that are appended to.

Text is written in UTF-8. Half of a surrogate pair (an emoji that was cut in the middle), which a Python text can hold
and UTF-8 cannot, becomes U+FFFD. All modules write text through this one.

A record of JSON lines is written in one piece with its line end, so only the last line of a file can be torn. Whoever
appends cuts it off first; whoever reads skips it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BLOCK = 1 << 13
TEMPORARY = ".tmp"
"""Ending of the files that become others in one step."""
_SURROGATE = re.compile("[\ud800-\udfff]")


def without_surrogates(value: Any) -> Any:
    """A JSON value with U+FFFD for each half of a surrogate pair in its texts, the keys of objects included."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    return value


def parse_json(text: str | bytes) -> Any:
    """`json.loads`, with a JSONDecodeError for every text that it does not read.

    Raises:
        json.JSONDecodeError: not JSON, nested too deeply, with a number of thousands of digits, or not UTF-8.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except ValueError as error:  # a number of too many digits, bytes that are no text
        raise json.JSONDecodeError(str(error), "", 0) from None


def encode(text: str) -> bytes:
    """A text in UTF-8, with U+FFFD for each half of a surrogate pair."""
    return without_surrogates(text).encode("utf-8")


def write_text_atomically(path: Path, text: str) -> None:
    """`write_bytes_atomically` of `encode(text)`."""
    write_bytes_atomically(path, encode(text))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content so that a reader or a crash sees the old content or the new one, nothing between.

    It goes to a temporary file in the same folder, is forced to disk, and takes the file's name in one step.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    # The new name itself must survive a power cut.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_temporary(folder: Path) -> None:
    """Remove what killed writers left in a folder and in the folders in it. Nobody else may write there."""
    for pattern in (f".*{TEMPORARY}", f"*/.*{TEMPORARY}"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def cut_torn_line(path: Path) -> int:
    """Cut off a last line without an end, so that the next one does not join it; bytes cut. No file is no harm."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = whole = file.seek(0, os.SEEK_END)
        while whole:
            begin = max(0, whole - BLOCK)
            file.seek(begin)
            end = file.read(whole - begin).rfind(b"\n")
            whole = begin + end + 1
            if end >= 0:
                break
        if whole < size:
            file.truncate(whole)
    return size - whole


def read_json_lines(
    path: Path, start: bytes, end: bytes | None = None, error: type[ValueError] = ValueError
) -> Iterator[tuple[int, Any]]:
    """(line number, value) of every line that is neither empty nor torn.

    Args:
        path: the file.
        start: how every record of it begins; only the beginning of one can be torn.
        end: how every record ends; then lines that end otherwise are passed over within the file too (earlier versions
            ended a torn line instead of cutting it off). None: only the last line can be torn.
        error: raised for a line that is no JSON; names file and line.
    """
    lines = path.read_bytes().split(b"\n")  # no other line ends
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as problem:
            begun = line.startswith(start) or start.startswith(line)
            if begun and (number == len(lines) or (end is not None and not line.endswith(end))):
                continue
            raise error(f"{path}, line {number}: not JSON ({problem})") from problem
        yield number, value


def set_aside(path: Path, unwanted: Callable[[Any], bool]) -> int:
    """Move records of a file to the end of another, `abandoned_file(path)`; how many.

    They stand there before the file is replaced by the rest: a crash may leave a record in both, never in none. Lines
    that are no JSON stay. Without such records nothing is written.

    Args:
        path: the file; there may be none.
        unwanted: which values go.
    """
    if not path.exists():
        return 0
    cut_torn_line(path)
    kept: list[bytes] = []
    moved: list[bytes] = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            gone = unwanted(parse_json(line))
        except ValueError:
            gone = False
        (moved if gone else kept).append(line)
    if moved:
        aside = abandoned_file(path)
        cut_torn_line(aside)
        with aside.open("ab") as file:
            file.write(b"".join(moved))
            file.flush()
            os.fsync(file.fileno())
        write_bytes_atomically(path, b"".join(kept))
    return len(moved)


def abandoned_file(path: Path) -> Path:
    """Beside `name.jsonl`: `name.abandoned.jsonl`."""
    return path.with_name(f"{path.stem}.abandoned{path.suffix}")
