# SPDX-License-Identifier: Apache-2.0
"""Where a command may write: folders that appear complete or not at all, by one process at a time, and over nothing of
the user's.

A folder is written beside its destination under a name of its own and renamed. Whoever writes holds the lock
`.NAME.lock` beside it, from the check whether the destination is free until the result is in place.
"""

from __future__ import annotations

import fcntl
import glob
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def exclusive(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file or folder. It ends with the process that holds it, however that ends.

    Args:
        path: what is written; need not exist.
        wait: wait for a process that holds it; False: refuse.

    Raises:
        FileExistsError: another process holds it.
    """
    lock = path.parent / f".{path.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = None
    while handle is None:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(handle, path, wait)
            if not _same_file(handle, lock):  # its last holder has removed it
                os.close(handle)
                handle = None
        except BaseException:
            os.close(handle)
            raise
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_UN)  # forked children hold the handle too
        os.close(handle)


def _take(handle: int, path: Path, wait: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise FileExistsError(
                f"{path}: another process is writing it; wait for that one, or choose another folder"
            ) from None
        logger.warning("%s: another process is writing it; waiting", path)
        fcntl.flock(handle, fcntl.LOCK_EX)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def new_folder(
    out: Path, what: str = "", *, parts: Collection[str] = (), mark: str = "", overwrite: bool | None = None
) -> Iterator[Path]:
    """A folder to write into that becomes `out` when the block ends without an error, and vanishes otherwise.

    What earlier writers left that were killed is removed. The caller holds `exclusive(out)`.

    Args:
        out: the folder; missing or empty.
        what: what it holds, for messages.
        parts: names (patterns) of its entries. A folder with others is never replaced.
        mark: the entry that tells such a folder from others. One without it is never replaced.
        overwrite: replace such a folder that is there; None: the caller has no such choice.

    Raises:
        FileExistsError: `out` holds something, and `overwrite` is not set or it is something else.
    """
    out = out.absolute()
    check_free(out, what, parts=parts, mark=mark, overwrite=overwrite)
    prefix = f".{out.name}.new."
    for left in out.parent.glob(glob.escape(prefix) + "*"):
        shutil.rmtree(left, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    container = Path(tempfile.mkdtemp(dir=out.parent, prefix=prefix))
    fresh, old = container / out.name, container / "old"
    fresh.mkdir()
    try:
        yield fresh
        if not is_empty(out):
            out.rename(old)
        try:
            fresh.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    finally:
        shutil.rmtree(container, ignore_errors=True)


def check_free(
    out: Path, what: str = "", *, parts: Collection[str] = (), mark: str = "", overwrite: bool | None = None
) -> None:
    """Raise FileExistsError where `new_folder` would, for the same arguments."""
    if is_empty(out):
        return
    if not overwrite:
        fix = "choose another folder" + ("" if overwrite is None else ", or pass overwrite (--overwrite)")
        raise FileExistsError(f"{out}: exists already; {fix}")
    if not out.is_dir() or not (out / mark).is_file():
        raise FileExistsError(f"{out}: is not {what}, so it is not overwritten; choose another folder")
    other = sorted(e.name for e in out.iterdir() if not any(fnmatch(e.name, part) for part in parts))
    if other:
        raise FileExistsError(f"{out}: holds {', '.join(other[:3])} beside {what}; move that away, or choose another")


def check_no_file(*paths: Path, overwrite: bool | None = False) -> None:
    """Raise FileExistsError, naming it, if one of the files that a command is about to write is there."""
    for path in paths:
        if not overwrite and (path.exists() or path.is_symlink()):
            fix = "choose another name" + ("" if overwrite is None else ", or pass --overwrite")
            raise FileExistsError(f"{path}: exists already; {fix}")


def is_empty(folder: Path) -> bool:
    """Whether the path is free: it does not exist or is an empty folder."""
    if folder.is_dir():
        return not any(folder.iterdir())
    return not folder.exists() and not folder.is_symlink()
