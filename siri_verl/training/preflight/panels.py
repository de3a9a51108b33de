# SPDX-License-Identifier: Apache-2.0
"""Checks the panels of a run: readable, of the configured environment, disjoint, and large enough for a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from siri_verl.envs.panels import AGENT_NAME, Panel, PanelError, check_disjoint, read_dataset
from siri_verl.envs.parquet import file_names, read_rows
from siri_verl.failures import ConfigError

FIELDS = ("data.train_files", "data.val_files")
MANAGER = "siri_verl.rollout.worker.SiriAgentLoopManager"


def check_panels(config: DictConfig, environment: str) -> dict[str, Panel]:
    """Read and check the panels of a run that plays a registered environment.

    Args:
        config: verl's configuration.
        environment: its name.

    Returns:
        `data.train_files` and `data.val_files` -> the panel.

    Raises:
        ConfigError: a file is missing or malformed, its tasks are of another environment, the panels share a task, the
            training panel does not fill a batch, or the agent loop needs another manager.
    """
    train, validation = (read_panel(field, files_of(config, field), environment) for field in FIELDS)
    try:
        check_disjoint(train, validation)
    except PanelError as error:
        raise ConfigError(f"data.val_files={config.data.val_files!r}: {error}; give disjoint panels") from error
    check_enough_tasks(config, len(train.task_ids))
    if AGENT_NAME in agent_names(config):
        check_manager(config, f"agent loop {AGENT_NAME!r}")
    return dict(zip(FIELDS, (train, validation), strict=True))


def files_of(config: DictConfig, field: str) -> list[str]:
    """The files that `data.train_files` or `data.val_files` names."""
    return file_names(config.data[field.removeprefix("data.")])


def read_panel(field: str, files: list[str], environment: str) -> Panel:
    """The parquet files of a field as one panel.

    Raises:
        ConfigError: a file is missing or malformed, holds tasks of another environment, or a task occurs twice.
    """
    try:
        parts = [read_dataset(Path(file).expanduser(), f"{field}={file!r}") for file in files]
    except PanelError as error:
        raise ConfigError(str(error)) from error
    other = sorted({part.environment for part in parts} - {environment})
    if other:
        raise ConfigError(
            f"{field}={files!r}: holds tasks of environment {other[0]!r}, but siri.environment.name={environment!r}; "
            "set the one or give a panel of the other"
        )
    try:
        task_ids = tuple(task for part in parts for task in part.task_ids)
        return Panel(environment, task_ids, split=", ".join(sorted({part.split for part in parts})))
    except PanelError as error:
        raise ConfigError(f"{field}={files!r}: {error}; write panels with `siri-verl data panel`") from error


def check_enough_tasks(config: DictConfig, tasks: int) -> None:
    """There are enough training tasks for a batch."""
    size, limit = config.data.train_batch_size, config.data.get("train_max_samples", -1)
    tasks = tasks if limit < 0 else min(limit, tasks)
    if tasks < size:
        raise ConfigError(
            f"data.train_batch_size={size}: the training panel holds {tasks} tasks; use at most that many"
        )


def agent_names(config: DictConfig) -> set[str]:
    """Names of the agent loops that the rows of all panels ask for."""
    default = config.actor_rollout_ref.rollout.agent.default_agent_loop

    def names() -> Iterator[str]:
        for file in (file for field in FIELDS for file in files_of(config, field)):
            _, rows = read_rows(Path(file).expanduser(), ("task_id",), ("agent_name",))
            yield from (row.get("agent_name", default) for row in rows)

    return set(names())


def check_manager(config: DictConfig, what: str) -> None:
    """The rollout manager is siri_verl's, whose workers assign sessions to the arms."""
    from verl.utils.import_utils import load_class_from_fqn

    from siri_verl.rollout.worker import SiriAgentLoopManager

    name = config.actor_rollout_ref.rollout.agent.get("agent_loop_manager_class")
    if not name or not issubclass(load_class_from_fqn(name, "AgentLoopManager"), SiriAgentLoopManager):
        raise ConfigError(
            f"actor_rollout_ref.rollout.agent.agent_loop_manager_class={name!r}: {what} runs under "
            f"siri_verl's worker; set it to {MANAGER} or a subclass"
        )
