# SPDX-License-Identifier: Apache-2.0
"""The planner's shared library in several instances, without their disk use.

The library keeps its task in global variables, so every game needs an instance of its own, and the loader tells
instances apart by file. Stock textworld copies 33 MB to a temporary folder for each environment and deletes the copy
while it is mapped, so its space is not freed until the process ends. Here an instance is an anonymous file in memory
that holds only the loadable part (1.1 MB), and instances that are no longer needed are used again.
"""

from __future__ import annotations

import itertools
import os
import struct
import tempfile
import threading
from ctypes import CDLL, POINTER, c_bool, c_char_p, c_int, c_size_t, cdll
from functools import lru_cache
from pathlib import Path

_ELF64_LITTLE = b"\x7fELF\x02\x01"
_PT_LOAD = 1
_lock = threading.Lock()
_idle: list[CDLL] = []
_numbers = itertools.count()


def loadable_part(library: bytes) -> bytes:
    """What the dynamic loader maps of a shared library: all up to the end of the last segment, no section table.

    Symbol tables for linkers and debuggers lie behind the segments; the loader never reads them. Files of another
    format come back as they are.
    """
    if not library.startswith(_ELF64_LITTLE):
        return library
    (table,) = struct.unpack_from("<Q", library, 32)
    entry_size, entries = struct.unpack_from("<HH", library, 54)
    end = table + entry_size * entries
    for number in range(entries):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", library, table + number * entry_size)
        if kind == _PT_LOAD:
            end = max(end, offset + size)
    part = bytearray(library[:end])
    struct.pack_into("<Q", part, 40, 0)  # no section table,
    struct.pack_into("<HH", part, 60, 0, 0)  # no sections, no section names
    return bytes(part)


@lru_cache(maxsize=1)
def _content(path: str) -> bytes:
    return loadable_part(Path(path).read_bytes())


def _open_instance(content: bytes) -> CDLL:
    # The loader takes a name it has seen for the library it knows, whatever file is behind it now: number the names.
    name = f"libdownward_{next(_numbers)}.so"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if not hasattr(os, "memfd_create"):
            path.write_bytes(content)
            return cdll.LoadLibrary(str(path))
        file = os.memfd_create(name)
        try:
            with open(file, "wb", closefd=False) as memory:
                memory.write(content)
            path.symlink_to(f"/proc/self/fd/{file}")
            return cdll.LoadLibrary(str(path))
        finally:
            os.close(file)


def take_library(path: str | None = None) -> CDLL:
    """An instance of the planner's library that no other caller uses: an idle one, else a new one.

    Args:
        path: the library; None for the installed one.

    Raises:
        FileNotFoundError: it is not there.
    """
    from fast_downward.interface import DOWNWARD_LIB_PATH, Atom, Operator

    with _lock:
        if path is None and _idle:
            return _idle.pop()
        library = _open_instance(_content(str(path or DOWNWARD_LIB_PATH)))
    signatures = {
        "load_sas": ([c_char_p], None),
        "load_sas_replan": ([c_char_p], None),
        "cleanup": ([], None),
        "get_state_id": ([], c_int),
        "set_state_id": ([c_int], None),
        "get_applicable_operators_count": ([], c_int),
        "get_applicable_operators": ([POINTER(Operator)], None),
        "get_state_size": ([], c_int),
        "get_state": ([POINTER(Atom)], None),
        "apply_operator": ([c_size_t, POINTER(Atom)], c_size_t),
        "check_goal": ([], c_bool),
        "solve": ([c_bool], c_bool),
        "solve_sas": ([c_char_p, c_bool], c_bool),
        "replan": ([c_bool], c_bool),
        "get_last_plan_length": ([], c_int),
        "get_last_plan": ([POINTER(Operator)], None),
        "check_solution": ([c_size_t, POINTER(Operator)], c_bool),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def give_back_library(library: CDLL) -> None:
    """Take an instance back for the next `take_library`, its task forgotten. The caller must not use it any more."""
    library.cleanup()
    with _lock:
        if all(library is not idle for idle in _idle):
            _idle.append(library)
