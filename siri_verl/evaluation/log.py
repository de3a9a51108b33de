# SPDX-License-Identifier: Apache-2.0
"""The file of an evaluation's trajectories: JSON lines, append-only, docs/run_folder.md says what is in it.

The first line holds the settings that decide the numbers. Every further line is one finished episode or reflection,
written in one piece, so that a killed evaluation goes on where it stopped: what stands in the file is not played again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from siri_verl.files import cut_torn_line, read_json_lines
from siri_verl.runs.config import flat_settings

logger = logging.getLogger(__name__)
SCHEMA, VERSION = "siri_verl.trajectories", 1
HEADER, EPISODE, REFLECTION = "header", "episode", "reflection"
FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    EPISODE: {
        "task_id": str,
        "repetition": int,
        "trial": int,
        "env_seed": int,
        "task": str,
        "category": str,
        "task_type": str,
        "skill_id": str,
        "skill_missing": bool,
        "success": bool,
        "score": float,
        "status": str,
        "turns": list,
        "final_observation": str,
    },
    REFLECTION: {
        "task_id": str,
        "repetition": int,
        "trial": int,
        "text": str,
        "prompt_tokens": (int, type(None)),
        "reply_tokens": (int, type(None)),
    },
}
"""Fields of the records, all required."""
ADDRESS = "model.endpoint"
"""A setting on record that may change between two parts of an evaluation: a server may move."""
TURN_FIELDS: dict[str, type | tuple[type, ...]] = {
    "observation": str,
    "reply": str,
    "action": str,
    "problem": (str, type(None)),
    "admissible": bool,
    "prompt_tokens": (int, type(None)),
    "reply_tokens": (int, type(None)),
    "history_dropped": int,
}
"""Fields of an episode's turns."""
Key = tuple[str, str, int, int]
"""(record, task id, repetition, trial)."""


class TrajectoryFileError(ValueError):
    """The file is not what is asked for. The message names the file, the line or setting, and what to do."""


class TrajectoryLog:
    """A file of trajectories, open for adding. One process at a time.

    Args:
        path: the file; begun if absent, and anew if no episode is in it.
        settings: what decides the numbers; JSON values.

    Raises:
        TrajectoryFileError: its episodes were played under other settings (the first that differs is named), another
            process writes to it, or a line is damaged.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            if cut_torn_line(path):
                logger.warning(
                    "%s: the last line was torn when its writer was stopped; its episode is played again", path
                )
            self.records: dict[Key, dict[str, Any]] = {}
            if os.fstat(self._file).st_size:
                found, records = read_trajectories(path)
                if records:
                    _check_settings(path, found, settings)
                else:
                    # Nothing was played under them, so other settings may take their place.
                    os.ftruncate(self._file, 0)
                self.records = {record_key(record): record for record in records}
            if not self.records:
                self._write({"record": HEADER, "schema": SCHEMA, "version": VERSION, "settings": dict(settings)})
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: dict[str, Any]) -> None:
        """Add a finished episode or reflection."""
        _check_record(self.path, len(self.records) + 2, record)
        self._write(record)
        self.records[record_key(record)] = record

    def get(self, record: str, task_id: str, repetition: int, trial: int) -> dict[str, Any] | None:
        """A record, None if it is not there yet."""
        return self.records.get((record, task_id, repetition, trial))

    def episodes(self) -> list[dict[str, Any]]:
        """All episodes, in the order in which they ended."""
        return [record for record in self.records.values() if record["record"] == EPISODE]

    def close(self) -> None:
        """Let the file go, on disk."""
        os.fsync(self._file)
        os.close(self._file)

    def _write(self, record: Mapping[str, Any]) -> None:
        line = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")
        # One call: a reader or a kill finds the whole line or a torn last one, never two mixed.
        written = os.write(self._file, line)
        if written != len(line):
            raise OSError(f"{self.path}: {written} of {len(line)} bytes written; is the disk full?")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrajectoryFileError(
                f"{self.path}: another evaluation is writing to it; give another --out"
            ) from error


def read_trajectories(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(settings, records) of a file. A last line that is still being written, or that a crash tore, is passed over.

    Raises:
        FileNotFoundError: there is none.
        TrajectoryFileError: it is of another kind or version, or a line is damaged; names the line.
    """
    lines = list(_lines(path))
    if not lines or lines[0].get("record") != HEADER or lines[0].get("schema") != SCHEMA:
        raise TrajectoryFileError(f"{path}, line 1: no header of {SCHEMA}; `siri-verl eval` writes such files")
    if lines[0].get("version") != VERSION:
        raise TrajectoryFileError(f"{path}: version is {lines[0].get('version')!r}; this siri_verl reads {VERSION}")
    for number, record in enumerate(lines[1:], start=2):
        _check_record(path, number, record)
    return lines[0]["settings"], lines[1:]


def record_key(record: Mapping[str, Any]) -> Key:
    """What a record is known by."""
    return record["record"], record["task_id"], record["repetition"], record["trial"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, record in read_json_lines(path, b'{"record": "', error=TrajectoryFileError):
        if not isinstance(record, dict):
            raise TrajectoryFileError(f"{path}, line {number}: {str(record)[:60]!r} is no record")
        yield record


def _check_settings(path: Path, found: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    # Through JSON, so that a tuple equals the list it became.
    was, now = (
        {name: value for name, value in flat_settings(settings).items() if value not in (None, {})}
        for settings in (found, json.loads(json.dumps(dict(given))))
    )
    if ADDRESS in was and ADDRESS in now:
        del was[ADDRESS], now[ADDRESS]
    for name in sorted(was.keys() | now.keys()):
        before, after = (repr(some[name]) if name in some else "not set" for some in (was, now))
        if before != after:
            raise TrajectoryFileError(
                f"{path}: was begun with {name}={before}, now it is {after}; set it back to go on where that "
                "evaluation stopped, or give another --out"
            )


def _check_record(path: Path, number: int, record: Mapping[str, Any]) -> None:
    kind = record.get("record")
    if kind not in FIELDS:
        raise TrajectoryFileError(f"{path}, line {number}: record is {kind!r}; known: {', '.join(FIELDS)}")
    _check_fields(f"{path}, line {number}", record, FIELDS[kind], extra={"record"})
    for index, turn in enumerate(record.get("turns", ())):
        _check_fields(f"{path}, line {number}, turn {index + 1}", turn, TURN_FIELDS)


def _check_fields(
    where: str, given: Any, fields: Mapping[str, Any], extra: frozenset[str] | set[str] = frozenset()
) -> None:
    if not isinstance(given, Mapping) or given.keys() - extra != fields.keys():
        names = sorted(given) if isinstance(given, Mapping) else given
        raise TrajectoryFileError(f"{where}: fields are {names}; expected {', '.join(fields)}")
    for name, kind in fields.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(given[name]) not in kinds:
            raise TrajectoryFileError(f"{where}: {name} is {given[name]!r}; expected {kinds[0].__name__}")
