# SPDX-License-Identifier: Apache-2.0
"""What a run writes into its folder beside verl's checkpoints. Slow writes happen in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from siri_verl.files import write_text_atomically
from siri_verl.files import abandoned_file, set_aside
from siri_verl.trajectory.file import Trajectory, append_trajectories
from siri_verl.skills.bank_file import BANK_FILE
from siri_verl.runs import record as run_record
from siri_verl.runs.metrics import METRICS_FILE, MetricsLog
from siri_verl.runs.config import save_config
from siri_verl.training.sample import trajectories_file

logger = logging.getLogger(__name__)
PROMPTS_FOLDER = "prompts"


class RunFiles:
    """The folder of a run: settings and start are recorded when it is made.

    Args:
        config: the whole configuration; `trainer.default_local_dir` is the folder.
        seed: the run's.
    """

    def __init__(self, config: DictConfig, seed: int):
        self.folder = Path(config.trainer.default_local_dir)
        save_config(config, self.folder)
        run_record.add_start(self.folder, seed)
        self.metrics = MetricsLog(self.folder / METRICS_FILE)
        self.prompts = self.folder / PROMPTS_FOLDER
        self._background = ThreadPoolExecutor(max_workers=1)

    def begin_after(self, step: int) -> None:
        """Set aside what an abandoned branch of the run left: records of steps that are about to be played anew.

        Args:
            step: that of the checkpoint training goes on from; 0 without one: then nothing in the folder is this run's.
        """

        def abandoned(record: Any) -> bool:
            played = record.get("step") if isinstance(record, dict) else None
            return isinstance(played, int) and (played > step or step == 0)

        paths = (self.metrics.path, trajectories_file(self.folder))
        moved = {abandoned_file(path): set_aside(path, abandoned) for path in paths}
        if any(moved.values()):
            told = ", ".join(f"{count} records to {path}" for path, count in moved.items() if count)
            logger.warning("training goes on after step %d: an earlier run's later records were moved: %s", step, told)

    def write_metrics(self, kind: str, step: int, metrics: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl, at once."""
        self.metrics.write(kind, step, metrics)

    def write_bank(self, content: str) -> None:
        """The live bank, for the curious; checkpoints hold the real one."""
        self._write(write_text_atomically, self.folder / BANK_FILE, content)

    def keep(self, trajectories: Sequence[Trajectory]) -> None:
        """Append to the sample of trajectories."""
        if trajectories:
            self._write(append_trajectories, trajectories_file(self.folder), trajectories)

    def close(self) -> None:
        """Wait for what is still to be written."""
        self._background.shutdown()

    def _write(self, write: Callable[..., None], path: Path, content: Any) -> None:
        """Write without holding the step up; a failure is logged."""

        def look(done: Future) -> None:
            if done.exception() is not None:
                logger.error("could not write %s: %s", path, done.exception())

        self._background.submit(write, path, content).add_done_callback(look)
