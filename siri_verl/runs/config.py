# SPDX-License-Identifier: Apache-2.0
"""The settings of a run on disk: `config.yaml` in its folder, written when the run starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.files import write_text_atomically

CONFIG_FILE = "config.yaml"
TRACKER = "latest_checkpointed_iteration.txt"
"""verl's, in a run's folder: its newest checkpoint."""

logger = logging.getLogger(__name__)


def save_config(config: DictConfig, run: Path) -> None:
    """Write all settings, verl's and ours, with interpolations resolved."""
    write_text_atomically(run / CONFIG_FILE, OmegaConf.to_yaml(config, resolve=True))


DECISIVE = (
    "siri.seed",
    "siri.environment.name",
    "siri.phases.fixed",
    "algorithm.adv_estimator",
    "actor_rollout_ref.model.path",
)
"""What makes another run of it."""


def check_resumed(config: DictConfig) -> None:
    """A run that goes on from its folder's newest checkpoint is the run that wrote it. Other changes are logged.

    Raises:
        ConfigError: the setting, both values and what to do.
    """
    run = Path(config.trainer.default_local_dir)
    if config.trainer.resume_mode != "auto" or not all((run / name).is_file() for name in (TRACKER, CONFIG_FILE)):
        return
    both = OmegaConf.load(run / CONFIG_FILE), config
    before, now = (flat_settings(OmegaConf.to_container(given, resolve=True)) for given in both)
    changed = {name: (before.get(name), now.get(name)) for name in sorted({*before, *now})}
    changed = {name: values for name, values in changed.items() if values[0] != values[1]}
    for name in DECISIVE:
        if name in changed:
            raise ConfigError(
                f"{name}={changed[name][1]!r}: trainer.default_local_dir={str(run)!r} holds checkpoints of a run with "
                f"{changed[name][0]!r}, and this one would go on from them; give it another folder, start anew with "
                "trainer.resume_mode=disable, or set it back"
            )
    if changed:
        words = (f"{name}: {old!r} -> {new!r}" for name, (old, new) in changed.items())
        logger.warning("%s: goes on with other settings than before: %s", run, "; ".join(words))


def flat_settings(settings: Any) -> dict[str, Any]:
    """Dotted name -> value of every setting in nested mappings; an empty one is a value."""
    found: dict[str, Any] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else str(key))
        else:
            found[name] = value

    walk(settings, "")
    return found


def load_config(run: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Read them.

    Args:
        run: the run's folder.
        overrides: `key.path=value`, for what has changed since (a moved store).

    Raises:
        FileNotFoundError: the folder holds no settings.
        ValueError: an override is not of that form.
    """
    path = run / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; give the run's folder (trainer.default_local_dir), where the trainer wrote it"
        )
    for override in overrides:
        if not override.partition("=")[1]:
            raise ValueError(f"override {override!r}: expected key.path=value")
    return OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
