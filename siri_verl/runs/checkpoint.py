# SPDX-License-Identifier: Apache-2.0
"""The siri trainer's own state inside verl's checkpoint folder, written atomically."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from siri_verl.files import parse_json, write_text_atomically
from siri_verl.runs.folder import CheckpointFolder, RunFolder

logger = logging.getLogger(__name__)

STATE_VERSION = 1


def resume_folder(config: DictConfig, step: int) -> CheckpointFolder:
    """The checkpoint that a run resumes from (verl's resume_mode auto or resume_path)."""
    if config.trainer.resume_mode == "resume_path":
        return CheckpointFolder(Path(config.trainer.resume_from_path))
    return RunFolder(Path(config.trainer.default_local_dir)).checkpoint(step)


def repair_tracker(config: DictConfig) -> None:
    """Write verl's tracker again where a crash or a full disk has left it empty; verl itself fails to read it then."""
    run = RunFolder(Path(config.trainer.default_local_dir))
    if not run.tracker.is_file() or run.tracker.read_bytes().strip().isdigit():
        return
    newest = run.newest_checkpoint()
    logger.warning("%s holds no step; the run resumes from %s", run.tracker, newest.path if newest else "its beginning")
    if newest is None:
        run.tracker.unlink()
    else:
        write_text_atomically(run.tracker, str(newest.step))


def save_state(checkpoint: CheckpointFolder, state: dict[str, Any]) -> None:
    """Write the trainer's state into a checkpoint."""
    write_text_atomically(checkpoint.state, json.dumps({"version": STATE_VERSION, **state}, indent=2) + "\n")


def load_state(checkpoint: CheckpointFolder) -> dict[str, Any]:
    """Read the trainer's state from a checkpoint.

    Raises:
        FileNotFoundError: the checkpoint was not written by the siri trainer.
        ValueError: the file is of another version or not readable.
    """
    path = checkpoint.state
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: missing; the checkpoint was not written by trainer.v1.trainer_mode=siri. Start with "
            "trainer.resume_mode=disable and actor_rollout_ref.model.path=<its Hugging Face folder> instead"
        )
    try:
        state = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: not readable as JSON ({error}); restore it or resume from an earlier step"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: holds {type(state).__name__}, expected an object; resume from an earlier step")
    if state.get("version") != STATE_VERSION:
        raise ValueError(
            f"{path}: version {state.get('version')!r}, expected {STATE_VERSION}; use the siri_verl that wrote it"
        )
    return state
