# SPDX-License-Identifier: Apache-2.0
"""Who may use which environment server: the class inside a pool's manager actor.

The manager starts servers on demand, grants leases first come first served, replaces servers that died, hung or grew
too large, and takes back the leases of clients that vanished. Turns do not pass through it: a client that holds a
lease talks to the server directly.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from siri_verl.envs.servers.process import EnvironmentServer, EnvironmentStartError
from siri_verl.envs.servers.settings import NO_TURNS, EnvironmentPoolError, Lease, PoolSettings, Turns

# On Python 3.10 asyncio's time-out is not the builtin one.
SERVER_GONE = (ray.exceptions.RayActorError, asyncio.TimeoutError)  # noqa: UP041


@dataclass
class _Slot:
    handle: Any
    generation: int
    leases: dict[str, float] = field(default_factory=dict)  # lease -> time granted
    retiring: bool = False


class PoolManager:
    """See the module's text. All methods run in one event loop."""

    def __init__(self, config: PoolSettings, node_id: str):
        self._config, self._node_id = config, node_id
        self._slots: list[_Slot] = []
        self._where: dict[str, int] = {}
        self._waiting: deque[tuple[str, asyncio.Future]] = deque()
        self._abandoned: deque[str] = deque(maxlen=1000)
        self._generations = 0
        self._losses_in_a_row = 0
        self._last_loss = ""
        self._sweeper: asyncio.Task | None = None
        self._starting: asyncio.Task | None = None
        self._counts = dict.fromkeys(("opened", "lost", "errors", "evicted", "replaced", "recycled"), 0)
        self._wait_s = 0.0
        self._turns = NO_TURNS

    async def start(self) -> PoolSettings:
        """Start the first server and make one environment there. Safe to call by every client."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)
        return self._config

    async def _start(self) -> None:
        slot = self._add_slot()
        try:
            await asyncio.wait_for(slot.handle.probe.remote(), self._config.open_timeout_s)
        except EnvironmentStartError:
            raise
        except SERVER_GONE as error:
            raise EnvironmentPoolError(f"the first environment server did not start: {error!r}") from error
        self._sweeper = asyncio.ensure_future(self._sweep_for_ever())

    async def acquire(self, lease: str) -> Lease:
        """Wait, first come first served, for a free session.

        Raises:
            EnvironmentPoolError: servers keep dying.
        """
        if lease in self._abandoned:
            raise EnvironmentPoolError(f"lease {lease!r} was given up before it was asked for")
        asked = time.monotonic()
        future: asyncio.Future = asyncio.get_running_loop().create_future()
        self._waiting.append((lease, future))
        self._grant()
        granted = await future
        self._wait_s += time.monotonic() - asked
        return granted

    async def release(self, lease: str, outcome: str, turns: Turns = NO_TURNS) -> None:
        """Give a lease back, or stop waiting for it.

        Args:
            lease: its name.
            outcome: "ended", "closed", "environment_error" or "failed" (it never opened).
            turns: the turns taken.
        """
        self._waiting = deque((name, future) for name, future in self._waiting if name != lease)
        index = self._where.pop(lease, None)
        if index is None and outcome == "failed":
            self._abandoned.append(lease)  # calls in flight may overtake each other
        if index is not None:
            self._slots[index].leases.pop(lease, None)
            self._recycle_if_drained(index)
        if outcome != "failed":
            self._losses_in_a_row = 0
        elif index is not None:
            self._counts["opened"] -= 1
        self._counts["errors"] += outcome == "environment_error"
        self._turns = self._turns + turns
        self._grant()

    async def server_lost(self, index: int, generation: int, reason: str, turns: Turns = NO_TURNS) -> None:
        """A client saw a server die or hang: replace it, drop its leases. Reports of an earlier generation change
        nothing.

        Args:
            index, generation: from the lease.
            reason: what the client saw.
            turns: the turns taken by the session that noticed.
        """
        self._turns = self._turns + turns
        if self._slots[index].generation != generation:
            return
        self._losses_in_a_row += 1
        self._last_loss = reason
        self._counts["lost"] += len(self._slots[index].leases)
        self._counts["replaced"] += 1
        self._replace(index)
        self._grant()

    async def metrics(self) -> dict[str, float]:
        """Counts since the start, and the load now. Times are in seconds, as the clients saw them."""
        turns = self._turns
        return {
            **self._counts,
            "active": len(self._where),
            "waiting": len(self._waiting),
            "servers": len(self._slots),
            "wait_seconds": self._wait_s,
            "steps": turns.count,
            "step_seconds_mean": turns.seconds / turns.count if turns.count else 0.0,
            "step_seconds_max": turns.slowest,
        }

    async def stop(self) -> None:
        """Kill the servers and refuse the waiting requests."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for slot in self._slots:
            ray.kill(slot.handle, no_restart=True)
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(EnvironmentPoolError("the environment pool was shut down"))

    def _new_server(self) -> _Slot:
        actor = ray.remote(EnvironmentServer).options(
            num_cpus=self._config.cpus_per_server,
            scheduling_strategy=NodeAffinitySchedulingStrategy(self._node_id, soft=False),
        )
        self._generations += 1
        config = self._config
        handle = actor.remote(config.environment, dict(config.kwargs), config.sessions_per_server)
        return _Slot(handle, self._generations)

    def _add_slot(self) -> _Slot:
        self._slots.append(self._new_server())
        return self._slots[-1]

    def _replace(self, index: int) -> None:
        slot = self._slots[index]
        for lease in slot.leases:
            self._where.pop(lease, None)
        ray.kill(slot.handle, no_restart=True)
        self._slots[index] = self._new_server()

    def _recycle_if_drained(self, index: int) -> None:
        if self._slots[index].retiring and not self._slots[index].leases:
            self._counts["recycled"] += 1
            self._replace(index)

    def _free_slot(self) -> int | None:
        room = [
            (len(slot.leases), index)
            for index, slot in enumerate(self._slots)
            if not slot.retiring and len(slot.leases) < self._config.sessions_per_server
        ]
        # A new process rather than a second session in an old one: sessions of one server take turns.
        if len(self._slots) < self._config.num_servers and not (room and min(room)[0] == 0):
            self._add_slot()
            return len(self._slots) - 1
        return min(room)[1] if room else None

    def _grant(self) -> None:
        # Each loss ends sessions; without one success in between, endless retries would look like a hang.
        if self._losses_in_a_row >= self._config.give_up_after:
            while self._waiting:
                _, future = self._waiting.popleft()
                if not future.done():
                    count, reason = self._losses_in_a_row, self._last_loss
                    error = EnvironmentPoolError(f"environment servers died {count} times in a row; last: {reason}")
                    future.set_exception(error)
            return
        while self._waiting:
            lease, future = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                continue
            index = self._free_slot()
            if index is None:
                return
            self._waiting.popleft()
            slot = self._slots[index]
            slot.leases[lease] = time.monotonic()
            self._where[lease] = index
            self._counts["opened"] += 1
            future.set_result(Lease(slot.handle, index, slot.generation))

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._config.sweep_interval_s)
            await asyncio.gather(*(self._sweep(index) for index in range(len(self._slots))))

    async def _sweep(self, index: int) -> None:
        slot, config = self._slots[index], self._config
        asked = time.monotonic()
        patience = max(config.open_timeout_s, config.step_timeout_s)
        try:
            evicted, live, memory = await asyncio.wait_for(slot.handle.sweep.remote(config.idle_timeout_s), patience)
        except SERVER_GONE as error:
            await self.server_lost(index, slot.generation, f"found dead or hung in a check: {error!r}")
            return
        # A lease without a session is either about to open, or its client died before opening.
        stale = [
            lease
            for lease, granted in slot.leases.items()
            if lease not in live and asked - granted > config.open_timeout_s + config.step_timeout_s
        ]
        for lease in {*evicted, *stale} & set(slot.leases):
            slot.leases.pop(lease)
            self._where.pop(lease, None)
            self._counts["evicted"] += 1
        if config.memory_limit_mib is not None and memory > config.memory_limit_mib:
            slot.retiring = True
            if self._slots[index] is slot:
                self._recycle_if_drained(index)
        self._grant()
