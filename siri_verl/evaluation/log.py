# SPDX-License-Identifier: Apache-2.0
"""The file of an evaluation's trajectories (siri_verl/trajectory/file.py), open for appending.

Every line is written in one piece when its episode or reflection is finished. A stopped evaluation therefore resumes:
episodes in the file are not played again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siri_verl.files import cut_torn_line
from siri_verl.runs.config import flat_settings
from siri_verl.trajectory.file import (
    EVALUATION,
    TrajectoryFile,
    TrajectoryFileError,
    header_line,
    read_trajectories,
    record_line,
)
from siri_verl.trajectory.turn import Reflection, Trajectory

logger = logging.getLogger(__name__)
ADDRESS = "model.endpoint"
"""A setting on record that may change between two parts of an evaluation: a server may move."""
Key = tuple[str, int, int]
"""(task id, session, trial)."""


class TrajectoryLog:
    """A file of trajectories, open for appending. One process at a time.

    Args:
        path: the file; begun if absent, and anew if no episode is in it.
        settings: what decides the numbers; JSON values.

    Attributes:
        trajectories, reflections: in the file, by task id, session and trial, in the order in which they ended.

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
            found = self._read()
            # Not before: nothing is cut off from a file that is no evaluation's.
            if cut_torn_line(path):
                logger.warning(
                    "%s: the last line is incomplete, since its writer was stopped; its episode is played again", path
                )
                found = self._read()
            self.trajectories: dict[Key, Trajectory] = {}
            self.reflections: dict[Key, Reflection] = {}
            if found and found.trajectories:
                _check_settings(path, found.settings, settings)
                self.trajectories = {_key(trajectory): trajectory for trajectory in found.trajectories}
                self.reflections = {_key(reflection): reflection for reflection in found.reflections}
            else:
                # Nothing was played under the settings on record, so others may take their place.
                os.ftruncate(self._file, 0)
                self._write(header_line(EVALUATION, settings))
        except BaseException:
            os.close(self._file)
            raise

    def append(self, record: Trajectory | Reflection) -> None:
        """Add a finished trajectory or reflection."""
        self._write(record_line(record))
        if isinstance(record, Trajectory):
            self.trajectories[_key(record)] = record
        else:
            self.reflections[_key(record)] = record

    def close(self) -> None:
        """Flush and close the file."""
        os.fsync(self._file)
        os.close(self._file)

    def _read(self) -> TrajectoryFile | None:
        return read_trajectories(self.path, EVALUATION) if os.fstat(self._file).st_size else None

    def _write(self, line: bytes) -> None:
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


def _key(record: Trajectory | Reflection) -> Key:
    return record.task_id, record.session, record.trial


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
                f"{path}: was started with {name}={before}, now it is {after}; set it back to resume that "
                "evaluation, or give another --out"
            )
