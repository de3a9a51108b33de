# SPDX-License-Identifier: Apache-2.0
"""A run as its folder describes it: its settings, read once, and the tasks they name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from siri_verl.envs.panels import Panel
from siri_verl.envs.parquet import ParquetError, file_names, read_rows
from siri_verl.runs.config import load_config
from siri_verl.runs.folder import RunFolder
from siri_verl.settings.read import siri_settings
from siri_verl.settings.schema import SiriSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedRun:
    """A run on disk.

    Attributes:
        folder: the run's.
        config: all settings, verl's and ours.
        settings: the `siri:` block, checked.
    """

    folder: RunFolder
    config: DictConfig
    settings: SiriSettings

    def training_tasks(self) -> frozenset[str]:
        """Ids of the tasks in `data.train_files`; a missing file is named in a warning.

        Raises:
            ParquetError: a file is unreadable or has no column task_id.
        """
        tasks: set[str] = set()
        for name in file_names(self.config.data.train_files):
            if Path(name).is_file():
                try:
                    _, rows = read_rows(Path(name), ["task_id"])
                except ParquetError as error:
                    raise ParquetError(f"data.train_files={name!r}: {error}") from error
                tasks.update(row["task_id"] for row in rows)
            else:
                logger.warning("data.train_files: %s does not exist; the panel is checked against the bank alone", name)
        return frozenset(tasks)

    def validation_panel(self) -> Panel:
        """The first panel of `data.val_files`.

        Raises:
            PanelError: its file is missing or malformed.
        """
        return Panel.read(file_names(self.config.data.val_files)[0])


def load_run(run: Path, overrides: Sequence[str] = ()) -> SavedRun:
    """Read the settings of a run and check the `siri:` block.

    Args:
        run: the run's folder.
        overrides: see siri_verl/runs/config.py.

    Raises:
        FileNotFoundError: the folder holds no settings.
        ValueError: an override is not of the form key.path=value.
        ConfigError: the `siri:` block is missing or damaged.
    """
    config = load_config(run, overrides)
    return SavedRun(RunFolder(run), config, siri_settings(config))
