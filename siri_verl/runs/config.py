# SPDX-License-Identifier: Apache-2.0
"""The settings of a run on disk, written when the run starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siri_verl.files import write_text_atomically
from siri_verl.runs.folder import RunFolder


def save_config(config: DictConfig, run: Path) -> None:
    """Write all settings, verl's and ours, with interpolations resolved."""
    write_text_atomically(RunFolder(run).config, OmegaConf.to_yaml(config, resolve=True))


def load_config(run: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Read all settings of a run.

    Args:
        run: the run's folder.
        overrides: `key.path=value`, for settings that have changed since, for example the place of a store.

    Raises:
        FileNotFoundError: the folder holds no settings.
        ValueError: an override is not of that form.
    """
    path = RunFolder(run).config
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; give the run's folder (trainer.default_local_dir), where the trainer wrote it"
        )
    for override in overrides:
        if not override.partition("=")[1]:
            raise ValueError(f"override {override!r}: expected key.path=value")
    return OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))


def flat_config(run: Path) -> dict[str, Any]:
    """The settings of a run by dotted name, interpolations as written; {} where the run has no settings file.

    Raises:
        ValueError: the file is no YAML mapping.
    """
    path = RunFolder(run).config
    if not path.is_file():
        return {}
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # PyYAML and OmegaConf have no common root
        raise ValueError(f"{path}: cannot be read as settings ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds {type(content).__name__}, expected settings by name")
    return flat_settings(content)


def flat_settings(settings: Any) -> dict[str, Any]:
    """Dotted name -> value of every setting in nested mappings; an empty mapping is a value."""
    found: dict[str, Any] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(inner, f"{name}.{key}" if name else str(key))
        else:
            found[name] = value

    walk(settings, "")
    return found
