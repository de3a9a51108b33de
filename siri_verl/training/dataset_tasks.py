# SPDX-License-Identifier: Apache-2.0
"""Ids and texts of the tasks of a pipeline whose own agent loop plays the dataset's rows (`siri.tasks=dataset`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from siri_verl.envs.parquet import ParquetError, file_names, read_rows
from siri_verl.failures import ConfigError

TASK_ID, TASK = "task_id", "task"


@dataclass(frozen=True)
class DatasetTasks:
    """Task id -> task text, for the training and the validation files."""

    train: dict[str, str]
    validation: dict[str, str]

    @property
    def all(self) -> dict[str, str]:
        """Tasks of both."""
        return {**self.train, **self.validation}


def dataset_tasks(config: DictConfig) -> DatasetTasks:
    """Read the run's files.

    Raises:
        ConfigError: a file is missing or unreadable, lacks a column, names a task twice, or training and validation
            share one.
    """
    prompt_key = config.data.get("prompt_key", "prompt")
    train = _read("data.train_files", config.data.train_files, prompt_key)
    validation = _read("data.val_files", config.data.val_files, prompt_key)
    both = sorted(set(train) & set(validation))
    if both:
        raise ConfigError(
            f"data.val_files={config.data.val_files!r}: {len(both)} task(s) are in data.train_files too, for example "
            f"{both[0]!r}; give disjoint files"
        )
    return DatasetTasks(train, validation)


def _read(field: str, files: str | Sequence[str], prompt_key: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for file in file_names(files):
        where = f"{field}={file!r}"
        try:
            names, rows = read_rows(Path(file).expanduser(), (), (TASK_ID, TASK, prompt_key))
        except ParquetError as error:
            raise ConfigError(f"{where}: {error}") from error
        if TASK_ID not in names:
            raise ConfigError(
                f"{where}: column {TASK_ID!r} is missing (found {', '.join(names)}); siri.tasks=dataset needs a stable "
                "name for every task, for example a text made from the row"
            )
        text_key = TASK if TASK in names else prompt_key
        if text_key not in names:
            raise ConfigError(f"{where}: has neither a column {TASK!r} nor {prompt_key!r} (data.prompt_key)")
        for number, row in enumerate(rows):
            task_id, text = row[TASK_ID], _text(row[text_key])
            if not isinstance(task_id, str) or not task_id:
                raise ConfigError(f"{where}: row {number} has {TASK_ID}={task_id!r}; expected a non-empty text")
            if not text:
                raise ConfigError(
                    f"{where}: row {number} ({task_id!r}) has no task text in column {text_key!r}; give a column "
                    f"{TASK!r} with the task as the plain prompt words it"
                )
            if texts.get(task_id, text) != text:
                raise ConfigError(f"{where}: task {task_id!r} occurs twice with different texts; an id names one task")
            texts[task_id] = text
    if not texts:
        raise ConfigError(f"{field}={files!r}: no rows")
    return texts


def _text(value: Any) -> str:
    """A text, or the last user message's text of a list of messages."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Sequence):
        users = [m for m in value if isinstance(m, Mapping) and m.get("role") == "user"]
        if users and isinstance(users[-1].get("content"), str):
            return users[-1]["content"].strip()
    return ""
