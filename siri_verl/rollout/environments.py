# SPDX-License-Identifier: Apache-2.0
"""The environment pool of this worker process: connected once, shared by its loops."""

from __future__ import annotations

import asyncio

from siri_verl.envs.servers.pool import EnvironmentPool, PoolSettings
from siri_verl.settings.schema import EnvironmentSettings

POOL_NAME = "rollout"
_pools: dict[str, asyncio.Task[EnvironmentPool]] = {}


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
    """This node's pool for the configured environment; loops that ask at the same time share one connection."""
    task = _pools.get(config.name)
    if task is None:
        task = asyncio.create_task(EnvironmentPool.connect_or_create(POOL_NAME, pool_settings(config)))
        _pools[config.name] = task
    return await asyncio.shield(task)
