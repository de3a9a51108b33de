# SPDX-License-Identifier: Apache-2.0
"""What clients and manager of an environment pool exchange: settings, leases, counts of turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


class EnvironmentPoolError(RuntimeError):
    """The pool cannot serve: its servers keep dying, or it was shut down."""


@dataclass(frozen=True)
class PoolSettings:
    """Settings of a pool; every client that shares it must state the same ones."""

    environment: str
    """Registered name or gymnasium id."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the environment."""
    num_servers: int = 2
    """Most server processes."""
    sessions_per_server: int = 64
    """Most sessions, and environments, in one server."""
    open_timeout_s: float = 300.0
    """Longest wait for an episode's start, which may load data; beyond it the server counts as hung and is replaced."""
    step_timeout_s: float = 120.0
    """Longest wait for a turn, those of other sessions on the same server included; beyond it the server counts as hung
    and is replaced."""
    idle_timeout_s: float = 1800.0
    """A session without a turn for this long is evicted: its client is gone."""
    sweep_interval_s: float = 30.0
    """How often servers are checked."""
    memory_limit_mib: float | None = None
    """A server whose private memory exceeds this takes no new sessions and is replaced when its last one ends."""
    give_up_after: int = 20
    """After this many lost servers without a completed session in between, `open` raises instead of retrying."""
    cpus_per_server: float = 0.0
    """Logical Ray CPUs a server reserves. 0: trainers reserve theirs and environments fit beside them."""

    def __post_init__(self):
        for name in ("num_servers", "sessions_per_server", "give_up_after"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"environment pool: {name} must be an integer of at least 1, got {value!r}")
        for name in ("open_timeout_s", "step_timeout_s", "idle_timeout_s", "sweep_interval_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"environment pool: {name} must be positive seconds, got {getattr(self, name)!r}")
        if self.memory_limit_mib is not None and not self.memory_limit_mib > 0:
            raise ValueError(
                f"environment pool: memory_limit_mib must be None or positive MiB, got {self.memory_limit_mib!r}"
            )


@dataclass(frozen=True)
class Lease:
    """The right to one session on one server."""

    server: Any
    index: int
    generation: int


@dataclass(frozen=True)
class Turns:
    """Turns of a session: how many, their summed and their longest time at the client in seconds."""

    count: int = 0
    seconds: float = 0.0
    slowest: float = 0.0

    def __add__(self, other: Turns) -> Turns:
        return Turns(self.count + other.count, self.seconds + other.seconds, max(self.slowest, other.slowest))


NO_TURNS = Turns()


def differing(mine: PoolSettings, theirs: PoolSettings) -> dict[str, tuple[Any, Any]]:
    """Fields in which two pool settings differ: name -> (mine, theirs)."""
    a, b = asdict(mine), asdict(theirs)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}
