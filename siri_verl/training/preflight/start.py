# SPDX-License-Identifier: Apache-2.0
"""Checks how a run starts and where it reports: resuming, validation alone, loggers, the rollout server's name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from siri_verl.failures import check
from siri_verl.settings.light import check_light

RESUME_MODES = ("auto", "disable", "resume_path")
"""verl/trainer/ppo/v1/trainer_base.py, _load_checkpoint"""


def check_start(config: DictConfig) -> None:
    """Names are known to verl, and the settings do not contradict each other.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    from verl.utils.tracking import Tracking
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    trainer, rollout = config.trainer, config.actor_rollout_ref.rollout
    check_name("trainer.resume_mode", trainer.resume_mode, RESUME_MODES)
    loggers = [trainer.logger] if isinstance(trainer.logger, str) else trainer.logger
    for name in loggers:
        check_name("trainer.logger", name, Tracking.supported_backend)
    check_name("actor_rollout_ref.rollout.name", rollout.name, sorted(RolloutReplicaRegistry._registry))
    if rollout.name == "light":
        check_light(config)
    unread = trainer.get("val_only", False) and not trainer.get("val_before_train", True)
    fix = "with trainer.val_only=True verl would train; set it to True"
    check(not unread, "trainer.val_before_train", trainer.get("val_before_train", True), fix)


def check_resume_path(config: DictConfig) -> None:
    """Check that the checkpoint to resume from exists.

    Raises:
        ConfigError: it does not, or is no checkpoint of a step.
    """
    if config.trainer.resume_mode != "resume_path":
        return
    path = config.trainer.get("resume_from_path")
    fix = "trainer.resume_mode=resume_path continues from a folder global_step_N; give one that exists"
    there = isinstance(path, str) and "global_step_" in path and Path(path).is_dir()
    check(there, "trainer.resume_from_path", path, fix)


def check_name(field: str, value: Any, known: Sequence[str]) -> None:
    """The value is one of the names.

    Raises:
        ConfigError: it is not; the message has the nearest.
    """
    close = difflib.get_close_matches(str(value), known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    check(value in known, field, value, f"{hint}use one of {', '.join(known)}")
