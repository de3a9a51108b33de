# SPDX-License-Identifier: Apache-2.0
"""The environment pool of this worker process: connected once, shared by its loops."""

from __future__ import annotations

import asyncio

from siri_verl.envs.servers.pool import EnvironmentPool, PoolSettings
from siri_verl.settings.schema import EnvironmentSettings

POOL_NAME = "rollout"
_pools: dict[str, asyncio.Task[EnvironmentPool]] = {}
"""By all settings of the pool; `connect_or_create` refuses a second pool of other settings on a node, by name."""


def pool_settings(config: EnvironmentSettings) -> PoolSettings:
    """The pool's settings from the `siri.environment` block."""
    return PoolSettings(
        environment=config.name,
        kwargs=dict(config.kwargs),
        num_servers=config.num_servers,
        sessions_per_server=config.sessions_per_server,
        step_timeout_s=config.step_timeout,
        memory_limit_mib=config.memory_limit_mib,
    )


async def environment_pool(config: EnvironmentSettings) -> EnvironmentPool:
    """This node's pool for the configured environment; loops that ask at the same time share one connection.

    Raises:
        EnvironmentStartError: the environment cannot be made.
        ValueError: the node's pool runs with other settings; the message names them.
    """
    settings = pool_settings(config)
    key = repr(settings)
    if key not in _pools:
        _pools[key] = asyncio.create_task(EnvironmentPool.connect_or_create(POOL_NAME, settings))
    try:
        return await asyncio.shield(_pools[key])
    except Exception:
        _pools.pop(key, None)
        raise
