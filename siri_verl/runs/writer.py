# SPDX-License-Identifier: Apache-2.0
"""Writes a run's files beside verl's checkpoints. Slow writes happen in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from siri_verl.files import abandoned_file, remove_temporary, set_aside, write_text_atomically
from siri_verl.outputs import exclusive
from siri_verl.runs.config import save_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import MetricsLog
from siri_verl.runs.record import add_start
from siri_verl.trajectory.file import append_trajectories
from siri_verl.trajectory.turn import Trajectory

logger = logging.getLogger(__name__)


class RunWriter:
    """Writes to a run's folder, which no other process may use until `close` or the end of this one. Settings and the
    record of this start are written when it is made. With trainer.val_only=True the files of an earlier run stay as
    they are, and this start's files go to a subfolder.

    Args:
        config: the whole configuration; `trainer.default_local_dir` is the folder.
        seed: the run's.

    Raises:
        FileExistsError: another process writes to the folder.
    """

    def __init__(self, config: DictConfig, seed: int):
        self.folder = RunFolder(Path(config.trainer.default_local_dir))
        if config.trainer.get("val_only", False) and self.folder.config.is_file():
            self.folder = RunFolder(self.folder.validation_only)
        self._lock = ExitStack()
        self._lock.enter_context(exclusive(self.folder.path))
        remove_temporary(self.folder.path)
        save_config(config, self.folder.path)
        add_start(self.folder.path, seed)
        self._metrics = MetricsLog(self.folder.metrics)
        self._background = ThreadPoolExecutor(max_workers=1)

    def set_aside_after(self, step: int) -> None:
        """Move the records of steps that are about to be repeated into files `*.abandoned.jsonl`.

        Args:
            step: of the checkpoint that training continues from; 0 without one, then all records are moved.
        """

        def abandoned(record: Any) -> bool:
            played = record.get("step") if isinstance(record, dict) else None
            return isinstance(played, int) and (played > step or step == 0)

        paths = (self.folder.metrics, self.folder.trajectories)
        moved = {abandoned_file(path): set_aside(path, abandoned) for path in paths}
        if any(moved.values()):
            counts = ", ".join(f"{count} records to {path}" for path, count in moved.items() if count)
            logger.warning(
                "training resumes after step %d: an earlier run's later records were moved: %s", step, counts
            )

    def write_metrics(self, kind: str, step: int, metrics: Mapping[str, Any]) -> None:
        """Append one line of metrics, at once."""
        self._metrics.write(kind, step, metrics)

    def write_bank(self, content: str) -> None:
        """Replace the bank in the run's folder, which is for readers; training resumes from the checkpoint's."""
        self._write(write_text_atomically, self.folder.bank, content)

    def write_trajectories(self, trajectories: Sequence[Trajectory]) -> None:
        """Append to the sample of trajectories."""
        if trajectories:
            self._write(append_trajectories, self.folder.trajectories, trajectories)

    def close(self) -> None:
        """Wait for all background writes and let the folder go."""
        self._background.shutdown()
        self._lock.close()

    def _write(self, write: Callable[..., None], path: Path, content: Any) -> None:
        """Write in the background; a failure is logged."""

        def log_failure(done: Future) -> None:
            if done.exception() is not None:
                logger.error("could not write %s: %s", path, done.exception())

        self._background.submit(write, path, content).add_done_callback(log_failure)
