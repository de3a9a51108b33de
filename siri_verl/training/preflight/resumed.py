# SPDX-License-Identifier: Apache-2.0
"""Whether a run may continue from the checkpoints that its folder holds."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.runs.config import flat_settings, load_config
from siri_verl.runs.folder import RunFolder

MODEL_PATH = "actor_rollout_ref.model.path"
DECISIVE = (
    "siri.seed",
    "siri.environment.name",
    "siri.phases.fixed",
    "algorithm.adv_estimator",
    MODEL_PATH,
)
"""Settings that may not differ between a checkpoint's run and the run that continues from it."""

logger = logging.getLogger(__name__)


def _same(name: str, old: Any, new: Any) -> bool:
    """Whether two values of a setting mean the same: a model's folder may be written in several ways."""
    if name == MODEL_PATH and isinstance(old, str) and isinstance(new, str):
        return os.path.realpath(old) == os.path.realpath(new)
    return old == new


def check_resumed(config: DictConfig) -> None:
    """Compare the settings with those of the run whose checkpoints are in the folder; log all other differences.

    Raises:
        ConfigError: a decisive setting differs; the setting, both values and what to do.
    """
    folder = RunFolder(Path(config.trainer.default_local_dir))
    if config.trainer.resume_mode != "auto" or not (folder.tracker.is_file() and folder.config.is_file()):
        return
    before, now = (
        flat_settings(OmegaConf.to_container(given, resolve=True)) for given in (load_config(folder.path), config)
    )
    changed = {name: (before.get(name), now.get(name)) for name in sorted({*before, *now})}
    changed = {name: values for name, values in changed.items() if not _same(name, *values)}
    for name in DECISIVE:
        if name in changed:
            raise ConfigError(
                f"{name}={changed[name][1]!r}: trainer.default_local_dir={str(folder.path)!r} holds checkpoints of a "
                f"run with {changed[name][0]!r}, and this run would resume from them; give it another folder, start "
                "anew with trainer.resume_mode=disable, or set it back"
            )
    if changed:
        differences = (f"{name}: {old!r} -> {new!r}" for name, (old, new) in changed.items())
        logger.warning("%s: resumes with other settings than before: %s", folder.path, "; ".join(differences))
