# SPDX-License-Identifier: Apache-2.0
"""verl's logger `siri` (`trainer.logger=[siri]`): one line per training step in place of all metrics.

verl's Tracking (verl/utils/tracking.py) makes its loggers by name; `add_logger` adds this one. It works in every V1
trainer mode.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from siri_verl.runs.progress import LastValidation, step_line, validation_text
from siri_verl.screen import show

NAME = "siri"
WINDOW = 20
"""Steps whose duration predicts the rest."""


class ScreenLogger:
    """Prints a line per training step, and one for the validation before training.

    Args:
        config: the run's, as nested mappings.
        clock: seconds.
    """

    def __init__(self, config: Mapping[str, Any], clock: Callable[[], float] = time.monotonic):
        trainer = config["trainer"]
        self.total = _total_steps(config)
        self.validation: LastValidation | None = None
        self._clock = clock
        self._ends: deque[tuple[int, float]] = deque(maxlen=WINDOW + 1)
        show(f"run folder {trainer['default_local_dir']}")

    def log(self, data: Mapping[str, Any], step: int) -> None:
        """Called by verl after each step, and after the validation before training."""
        validated = validation_text(data)
        if validated is not None:
            self.validation = LastValidation(step, validated)
        if "training/global_step" not in data:
            show(f"validation before training: {validated}")
            return
        self._ends.append((step, self._clock()))
        show(step_line(step, self.total, data, self.validation, self._seconds_left(data)))

    def _seconds_left(self, data: Mapping[str, Any]) -> float | None:
        if not self.total:
            return None
        (first, begun), (last, now) = self._ends[0], self._ends[-1]
        per_step = (now - begun) / (last - first) if last > first else data.get("timing_s/step")
        return None if per_step is None else max(0, self.total - last) * per_step


def _total_steps(config: Mapping[str, Any]) -> int | None:
    """verl writes the number of optimizer steps it computed from the epochs into the actor's block."""
    total = config["trainer"].get("total_training_steps")
    if total is None:
        total = config.get("actor_rollout_ref", {}).get("actor", {}).get("optim", {}).get("total_training_steps")
    return int(total) if total is not None and total > 0 else None


def add_logger(tracking: type) -> None:
    """Add the logger to verl's Tracking."""
    tracking.supported_backend = [*tracking.supported_backend, NAME]  # type: ignore[attr-defined]
    start = tracking.__init__

    @functools.wraps(start)
    def start_with_screen(
        self: Any, project_name: str, experiment_name: str, default_backend: Any = "console", config: Any = None
    ) -> None:
        start(self, project_name, experiment_name, default_backend, config)
        if NAME in ([default_backend] if isinstance(default_backend, str) else default_backend):
            self.logger[NAME] = ScreenLogger(config)

    tracking.__init__ = start_with_screen  # type: ignore[method-assign]
