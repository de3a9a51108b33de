# SPDX-License-Identifier: Apache-2.0
"""The layout of a prepared catalogue on disk: a read-only directory of arrays and blobs opened by memory map.

    manifest.json                        format version, counts, seed, sources with hashes, type_backend, file sizes
    asins.npy, products.*                products in the order of their asins, one msgpack record each
    goal_ids.npy, goals.*                goals in the order of their ids, without the fields of their product
    search/*.npy                         the BM25 index
    splits/<name>.json                   goal ids

It appears complete or not at all (`siri_verl.outputs.new_folder`).
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.envs.webshop.product import DataError
from siri_verl.files import parse_json, write_text_atomically

FORMAT = 1
MANIFEST = "manifest.json"
PARTS = (MANIFEST, "asins.npy", "products.*", "goal_ids.npy", "goals.*", "search", "splits")
"""The entries of the directory."""
MAKE_ONE = "make one with `siri-verl data webshop --products F --attributes F --out DIR`"


class BlobWriter:
    """Appends records to `<folder>/<name>.bin` in any order; `close` sorts their keys."""

    def __init__(self, folder: Path, name: str, keys: str) -> None:
        self._folder, self._name, self._key_file = folder, name, keys
        self._file = (folder / f"{name}.bin").open("wb")
        self._keys: list[bytes] = []
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, record: bytes) -> None:
        """Append one record."""
        self._file.write(record)
        self._keys.append(key.encode("ascii"))
        self._sizes.append(len(record))

    def close(self) -> np.ndarray:
        """Write the key and position arrays. Returns (records,) integers: the added numbers in the order of the
        keys."""
        self._file.close()
        keys = np.array(self._keys, dtype=np.bytes_) if self._keys else np.zeros(0, "S1")
        ends = np.cumsum(np.array([0, *self._sizes], dtype=np.int64))
        order = np.argsort(keys, kind="stable")
        np.save(self._folder / f"{self._key_file}.npy", keys[order])
        np.save(self._folder / f"{self._name}.starts.npy", ends[:-1][order])
        np.save(self._folder / f"{self._name}.ends.npy", ends[1:][order])
        return order


class Blob:
    """Records by key, read from the mapped file when asked for."""

    def __init__(self, folder: Path, name: str, keys: str) -> None:
        self.keys = np.asarray(np.load(folder / f"{keys}.npy", mmap_mode="r"))
        """(records,) bytes, sorted."""
        self._starts = np.asarray(np.load(folder / f"{name}.starts.npy", mmap_mode="r"))
        self._ends = np.asarray(np.load(folder / f"{name}.ends.npy", mmap_mode="r"))
        path = folder / f"{name}.bin"
        with path.open("rb") as file:  # an empty file cannot be mapped
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, key: object) -> int | None:
        """The number of a key, None if there is none."""
        if not isinstance(key, str) or not key.isascii() or not len(self.keys):
            return None
        wanted = key.encode("ascii")
        number = int(np.searchsorted(self.keys, wanted))
        return number if number < len(self.keys) and self.keys[number] == wanted else None

    def record(self, number: int) -> bytes:
        """The bytes of a record."""
        return self._bytes[int(self._starts[number]) : int(self._ends[number])]


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `manifest.json` with the sizes of all files written so far. Call it last."""
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }
    text = json.dumps({"format": FORMAT, **manifest, "files": files}, indent=2)
    write_text_atomically(folder / MANIFEST, text + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check a store's manifest.

    Raises:
        DataError: no store, another format version, or a file is missing or truncated.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder}: no prepared catalogue (manifest.json is missing); {MAKE_ONE}.")
    try:
        manifest = parse_json(path.read_text(encoding="utf-8"))
        version, files = manifest["format"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error!r}); {MAKE_ONE}.") from None
    if version != FORMAT:
        raise DataError(f"{path}: format {version}, this version reads format {FORMAT}; {MAKE_ONE}.")
    for name, size in files.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes"
            raise DataError(f"{file}: {state}, expected {size} bytes; {MAKE_ONE}.")
    return manifest
