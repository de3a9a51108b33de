# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The settings of a run on disk: `config.yaml` in its folder, written when the run starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from siri_verl.core.files import write_text_atomically

CONFIG_FILE = "config.yaml"


def save_config(config: DictConfig, run: Path) -> None:
    """Write all settings, verl's and ours, with interpolations resolved."""
    write_text_atomically(run / CONFIG_FILE, OmegaConf.to_yaml(config, resolve=True))


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
