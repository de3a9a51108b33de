# SPDX-License-Identifier: Apache-2.0
"""Environments in processes of their own, used from asyncio.

    pool = await EnvironmentPool.connect_or_create("train", PoolSettings("webshop", {"store": "data/shop"}))
    async with await pool.open("task-7/plain/0", task_id="human-0042-0", seed=3) as session:
        while not session.result.ended:
            await session.step(choose(session.result.observation))

Every client on a node that connects under the same name shares the same servers. When a server dies or hangs, its
sessions end with status "environment_lost" and it is replaced; when an environment raises, that session ends with
status "environment_error". When all sessions are taken, `open` waits its turn.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from siri_verl.envs.base import EpisodeOverError
from siri_verl.envs.servers.manager import SERVER_GONE, PoolManager
from siri_verl.envs.servers.process import (
    ERROR,
    LOST,
    EnvironmentServer,
    EnvironmentStartError,
    StepResult,
    UnknownSessionError,
)
from siri_verl.envs.servers.settings import NO_TURNS, EnvironmentPoolError, Lease, PoolSettings, Turns, differing

__all__ = [
    "EnvironmentPool",
    "EnvironmentPoolError",
    "EnvironmentServer",
    "EnvironmentSession",
    "EnvironmentStartError",
    "PoolSettings",
    "StepResult",
]

logger = logging.getLogger(__name__)

_OPEN_ATTEMPTS = 3


class EnvironmentSession:
    """One episode in a pool. Made by `EnvironmentPool.open`.

    Attributes:
        key: the caller's name for it.
        result: the last answer; right after opening, that of `reset`.
    """

    def __init__(self, pool: EnvironmentPool, key: str, name: str, lease: Lease | None, result: StepResult):
        self.key, self.result = key, result
        self._pool, self._name, self._lease = pool, name, lease
        self._turns = NO_TURNS

    async def step(self, action: str) -> StepResult:
        """One turn. Never raises for a broken environment: look at `status`.

        Raises:
            EpisodeOverError: the episode has ended, or the session was closed.
        """
        if self._lease is None:
            raise EpisodeOverError(f"session {self.key!r}: the episode is over (status {self.result.status!r})")
        lease, began = self._lease, time.monotonic()
        try:
            answer = lease.server.step.remote(self._name, action)
            self.result = await asyncio.wait_for(answer, self._pool.config.step_timeout_s)
        except UnknownSessionError as error:
            self.result = self.result.broken(LOST, str(error))
        except SERVER_GONE as error:
            reason = _say(error, self._pool.config.step_timeout_s)
            self.result = self.result.broken(LOST, reason)
            self._lease = None
            self._count(began)
            await self._pool._tell("server_lost", lease.index, lease.generation, reason, self._turns)
            return self.result
        self._count(began)
        if self.result.ended:
            await self._release("environment_error" if self.result.status == ERROR else "ended")
        return self.result

    async def close(self) -> None:
        """Give the environment back. Closing twice, or after the end, does nothing."""
        if self._lease is not None:
            self._lease.server.close.remote(self._name)
            await self._release("closed")

    async def __aenter__(self) -> EnvironmentSession:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _count(self, began: float) -> None:
        seconds = time.monotonic() - began
        self._turns = self._turns + Turns(1, seconds, seconds)

    async def _release(self, outcome: str) -> None:
        self._lease = None
        await self._pool._tell("release", self._name, outcome, self._turns)


class EnvironmentPool:
    """A client of a node's environment servers. Cheap; one for each worker process.

    Attributes:
        config: what the pool runs.
        node_id: the Ray node of its servers, which is the client's.
    """

    def __init__(self, manager: Any, config: PoolSettings, node_id: str):
        self._manager, self.config, self.node_id = manager, config, node_id

    @classmethod
    async def connect_or_create(cls, name: str, config: PoolSettings) -> EnvironmentPool:
        """Connect to this node's pool of that name in this Ray namespace, starting it if there is none.

        The pool lives as long as the process that started it.

        Args:
            name: shared by the clients that share the pool.
            config: what the pool runs; the same for all clients.

        Raises:
            EnvironmentStartError: an environment with these settings cannot be made.
            ValueError: the pool exists with other settings; the message names them.
        """
        node_id = ray.get_runtime_context().get_node_id()
        actor = ray.remote(PoolManager).options(
            name=f"siri_environment_pool:{name}:{node_id}",
            get_if_exists=True,
            num_cpus=0,
            # Waiting clients each hold a call: few slots would let them lock out the releases they wait for.
            max_concurrency=100_000,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        manager = actor.remote(config, node_id)
        try:
            running = await manager.start.remote()
        except EnvironmentStartError:
            ray.kill(manager)
            raise
        if different := differing(config, running):
            fields = "; ".join(f"{name}: asked {a!r}, runs with {b!r}" for name, (a, b) in different.items())
            raise ValueError(f"environment pool {name!r} exists on this node with other settings: {fields}")
        return cls(manager, running, node_id)

    async def open(self, session_key: str, task_id: str | None, seed: int | None) -> EnvironmentSession:
        """Start an episode, waiting for a free session if all are taken.

        A server that dies while opening is replaced and the opening tried again, three times in all; then the session
        comes back ended, with status "environment_lost".

        Args:
            session_key: the caller's name for the session, used in messages.
            task_id: the task, None to let the environment draw one.
            seed: seeds the episode.

        Raises:
            UnknownTaskError: the environment knows no such task.
            EnvironmentStartError: the environment cannot be made.
            EnvironmentPoolError: servers keep dying.
        """
        reason = ""
        for _ in range(_OPEN_ATTEMPTS):
            name = f"{session_key}#{uuid.uuid4().hex[:12]}"
            lease = await self._acquire(name)
            try:
                answer = lease.server.open.remote(name, task_id, seed)
                result = await asyncio.wait_for(answer, self.config.open_timeout_s)
            except SERVER_GONE as error:
                reason = _say(error, self.config.open_timeout_s)
                await self._tell("server_lost", lease.index, lease.generation, reason, NO_TURNS)
                continue
            except asyncio.CancelledError:  # the session must not outlive the caller
                lease.server.close.remote(name)
                self._manager.release.remote(name, "failed")
                raise
            except Exception:
                await self._tell("release", name, "failed", NO_TURNS)
                raise
            session = EnvironmentSession(self, session_key, name, lease, result)
            if result.ended:
                await session._release("environment_error" if result.status == ERROR else "ended")
            return session
        lost = StepResult("", 0.0, False, False, {"task_id": task_id or ""}).broken(LOST, reason)
        return EnvironmentSession(self, session_key, name, None, lost)

    async def metrics(self) -> dict[str, float]:
        """Counts of the whole pool since its start: sessions opened, lost, errors, evicted;

        servers replaced; latency.
        """
        return await self._manager.metrics.remote()

    async def shutdown(self) -> None:
        """Stop the pool for all its clients."""
        await self._manager.stop.remote()
        ray.kill(self._manager)

    async def _acquire(self, name: str) -> Lease:
        try:
            return await self._manager.acquire.remote(name)
        except ray.exceptions.RayActorError as error:
            raise EnvironmentPoolError(
                f"the environment pool's manager is gone, and with it the pool: {error}"
            ) from error
        except asyncio.CancelledError:
            self._manager.release.remote(name, "failed")
            raise

    async def _tell(self, method: str, *arguments: Any) -> None:
        # Awaited, because an asyncio actor promises no order among calls in flight.
        try:
            await getattr(self._manager, method).remote(*arguments)
        except ray.exceptions.RayActorError:
            # The caller's session has ended either way; the next `open` reports that the pool is gone.
            logger.error("environment pool: the manager is gone; call not delivered: %s%s", method, arguments)


def _say(error: BaseException, patience: float) -> str:
    if isinstance(error, ray.exceptions.RayActorError):
        return f"the environment server died: {error}"
    return f"the environment server did not answer within {patience:g} s"
