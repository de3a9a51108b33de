# SPDX-License-Identifier: Apache-2.0
"""Checks before a run on a Ray cluster of several nodes: every node finds the same files and has a worker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from siri_verl.envs.parquet import file_names
from siri_verl.failures import ConfigError
from siri_verl.settings.schema import SiriSettings

logger = logging.getLogger(__name__)


def nodes_alive() -> int:
    """Nodes of the Ray cluster this process belongs to; 1 outside of one."""
    import ray

    return sum(node["Alive"] for node in ray.nodes()) if ray.is_initialized() else 1


def check_nodes(config: DictConfig, settings: SiriSettings, nodes: int) -> None:
    """Paths are absolute, since a Ray worker's folder is that of `ray start` on its node. Fewer agent-loop workers
    than nodes are logged.

    Args:
        config: verl's configuration.
        settings: its `siri:` block.
        nodes: of the cluster.

    Raises:
        ConfigError: a path is relative and there are several nodes.
    """
    if nodes < 2:
        return
    for field, path in paths(config, settings):
        if "://" not in path and not Path(path).expanduser().is_absolute():
            raise ConfigError(
                f"{field}={path!r}: the Ray cluster has {nodes} nodes, and each looks for a relative path in another "
                "folder; give an absolute path that all nodes see"
            )
    workers = config.actor_rollout_ref.rollout.agent.num_workers
    if workers < config.trainer.nnodes:
        logger.warning(
            "actor_rollout_ref.rollout.agent.num_workers=%d: environments run on %d of the %d nodes; use a multiple "
            "of %d",
            *(workers, workers, config.trainer.nnodes, config.trainer.nnodes),
        )


def paths(config: DictConfig, settings: SiriSettings) -> Iterator[tuple[str, str]]:
    """(field, path) of every file and folder the settings name. A model's path may be a name on the hub."""
    yield "trainer.default_local_dir", str(config.trainer.default_local_dir)
    for name in ("train_files", "val_files"):
        for file in file_names(config.data[name]):
            yield f"data.{name}", file
    if settings.initial_bank:
        yield "siri.initial_bank", str(settings.initial_bank)
    for name, value in settings.environment.kwargs.items():
        if isinstance(value, str) and "/" in value:
            yield f"siri.environment.kwargs.{name}", value
