# SPDX-License-Identifier: Apache-2.0
"""One process that hosts many environments: the class inside an environment server's Ray actor.

Calls are answered one after the other in the process's main thread, so environments need not be thread-safe.
Environments are made on demand, at most `capacity` of them, and used again by `reset`; one that raised is thrown
away.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from siri_verl.envs.base import RAISED, UnknownTaskError, read_reward

OK, LOST, ERROR = "ok", "environment_lost", "environment_error"


@dataclass(frozen=True)
class StepResult:
    """The answer of an environment to `reset` or `step`.

    Attributes:
        observation: the text of the new state; the last one known when `status` is not "ok".
        reward: native units; 0 after `reset`.
        terminated: the episode reached its end.
        truncated: the episode was cut: turn limit, lost environment, environment error.
        info: the keys of `siri_verl.envs.base.TurnInfo`; with a status other than "ok" also "reason".
        status: "ok"; "environment_lost" (its process died, hung, or evicted the idle session); "environment_error" (the
            environment raised; "reason" holds the traceback).
    """

    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any] = field(default_factory=dict)
    status: str = OK

    @property
    def ended(self) -> bool:
        """Whether the episode is over, for whatever reason."""
        return self.terminated or self.truncated

    def broken(self, status: str, reason: str) -> StepResult:
        """This state's episode, ended with `status`: no reward, no success."""
        info = {"task": "", "task_id": "", "anchor": "", **self.info}
        info |= {
            "admissible_actions": [],
            "action_admissible": False,
            "success": False,
            "score": 0.0,
            "reason": reason,
        }
        return StepResult(self.observation, 0.0, False, True, info, status)


class EnvironmentStartError(RuntimeError):
    """An environment could not be made; the message holds the traceback."""


class UnknownSessionError(KeyError):
    """The server hosts no such session: it was evicted after idling, or never opened."""


@dataclass
class _Hosted:
    env: Any
    last: StepResult
    used: float


class EnvironmentServer:
    """Hosts environments of one kind.

    Args:
        environment: registered name or gymnasium id (`siri_verl.envs.registry`).
        kwargs: settings of the environment.
        capacity: most environments held at a time.
    """

    def __init__(self, environment: str, kwargs: dict[str, Any], capacity: int):
        self._environment, self._kwargs, self._capacity = environment, dict(kwargs), capacity
        self._free: list[Any] = []
        self._sessions: dict[str, _Hosted] = {}

    def probe(self) -> None:
        """Make one environment, so that wrong settings show before anything else starts.

        Raises:
            EnvironmentStartError: it cannot be made.
        """
        self._free.append(self._take())

    def open(self, lease: str, task_id: str | None, seed: int | None) -> StepResult:
        """Start an episode under the name `lease`.

        Raises:
            EnvironmentStartError: the environment cannot be made.
            UnknownTaskError: it knows no such task.
        """
        env = self._take()
        try:
            observation, info = env.reset(seed=seed, options=None if task_id is None else {"task_id": task_id})
        except UnknownTaskError:
            self._free.append(env)
            raise
        except RAISED:
            self._discard(env)
            return StepResult("", 0.0, False, False, {"task_id": task_id or ""}).broken(ERROR, traceback.format_exc())
        result = StepResult(observation, 0.0, False, False, info)
        self._sessions[lease] = _Hosted(env, result, time.monotonic())
        return result

    def step(self, lease: str, action: str) -> StepResult:
        """One turn. The session is gone afterwards if the episode ended.

        Raises:
            UnknownSessionError: no such session.
        """
        hosted = self._sessions.get(lease)
        if hosted is None:
            raise UnknownSessionError(f"no session {lease!r}: evicted after idling, or never opened")
        try:
            observation, reward, terminated, truncated, info = hosted.env.step(action)
            result = StepResult(observation, read_reward(reward), bool(terminated), bool(truncated), info)
        except RAISED:
            del self._sessions[lease]
            self._discard(hosted.env)
            return hosted.last.broken(ERROR, traceback.format_exc())
        hosted.last, hosted.used = result, time.monotonic()
        if result.ended:
            self.close(lease)
        return result

    def close(self, lease: str) -> None:
        """End a session; its environment is kept for the next. Unknown sessions are ignored."""
        hosted = self._sessions.pop(lease, None)
        if hosted is None:
            return
        # The manager may grant a lease before the close of its predecessor gets here: hold no more than promised.
        if len(self._sessions) + len(self._free) < self._capacity:
            self._free.append(hosted.env)
        else:
            self._discard(hosted.env)

    def sweep(self, idle_s: float) -> tuple[list[str], list[str], float]:
        """Evict sessions idle for longer than `idle_s` seconds. Returns (evicted, live, private memory in MiB)."""
        limit = time.monotonic() - idle_s
        evicted = [lease for lease, hosted in self._sessions.items() if hosted.used < limit]
        for lease in evicted:
            self.close(lease)
        return evicted, list(self._sessions), private_memory_mib()

    def _take(self) -> Any:
        if self._free:
            return self._free.pop()
        from siri_verl.envs.registry import make_environment

        try:
            return make_environment(self._environment, **self._kwargs)
        except RAISED as error:
            raise EnvironmentStartError(
                f"environment {self._environment!r} with settings {self._kwargs} cannot be made: {error}\n"
                + traceback.format_exc()
            ) from error

    @staticmethod
    def _discard(env: Any) -> None:
        try:
            env.close()
        except RAISED:  # it already failed once; what counts is that it is not used again
            traceback.print_exc()


def private_memory_mib() -> float:
    """Memory this process holds for itself, in MiB. Mapped files such as a catalogue do not count, even where no other
    process reads them (proc(5): smaps, Anonymous)."""
    try:
        with open("/proc/self/smaps_rollup") as rollup:
            kib = sum(int(line.split()[1]) for line in rollup if line.startswith("Anonymous:"))
        return kib / 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
