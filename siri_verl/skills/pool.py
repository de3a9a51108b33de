# SPDX-License-Identifier: Apache-2.0
"""Finished episodes as the miner sees them, and the pool of recent plain successes it draws from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from siri_verl.core.pairing import PLAIN
from siri_verl.skills.mining_prompt import TrajectoryTurn

POOL_VERSION = 1


@dataclass(frozen=True)
class Episode:
    """One trajectory, with what mining needs.

    Attributes:
        task_id: its task.
        task: the task text.
        task_type: the task's type, read from that text.
        trajectory: its name.
        step: the training step whose policy made it.
        turns: (observation, action) pairs in order, without the final observation.
        success: whether the task was solved.
        arm: `plain` or `skill`.
        answers: what solving this one task came down to, as far as the environment says (`answers` of
            siri_verl.envs.base.TurnInfo); a skill must not quote them. What can be read off the turns is added by
            `siri_verl.skills.leaks`.
    """

    task_id: str
    task: str
    task_type: str
    trajectory: str
    step: int
    turns: tuple[TrajectoryTurn, ...]
    success: bool
    arm: str = PLAIN
    answers: tuple[str, ...] = ()


class SuccessPool:
    """The newest successful plain episodes of every task type. Serialisable, so that a resumed run mines the same."""

    def __init__(self, per_type: int):
        if per_type < 1:
            raise ValueError(f"success pool: per_type={per_type}, use at least 1")
        self.per_type = per_type
        self._episodes: dict[str, list[Episode]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._episodes.values()))

    def add(self, episodes: Iterable[Episode]) -> int:
        """Take in the plain successes among the episodes of a step; returns how many there were.

        Per type the newest stay; the order of arrival within a step does not matter.
        """
        fresh = [e for e in episodes if e.success and e.arm == PLAIN and e.turns]
        for episode in sorted(fresh, key=lambda e: (e.step, e.task_id, e.trajectory)):
            kept = self._episodes.setdefault(episode.task_type, [])
            kept.append(episode)
            del kept[: -self.per_type]
        return len(fresh)

    def of_type(self, task_type: str) -> tuple[Episode, ...]:
        """A type's episodes, oldest first."""
        return tuple(self._episodes.get(task_type, ()))

    def types(self) -> list[str]:
        """Task types with an episode, by name."""
        return sorted(name for name, episodes in self._episodes.items() if episodes)

    def remove(self, episodes: Iterable[Episode]) -> None:
        """Take out episodes that have been mined."""
        for episode in episodes:
            kept = self._episodes.get(episode.task_type, [])
            if episode in kept:
                kept.remove(episode)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        episodes = [asdict(e) for name in self.types() for e in self._episodes[name]]
        return {"version": POOL_VERSION, "episodes": episodes}

    @classmethod
    def from_dict(cls, per_type: int, data: dict[str, Any]) -> SuccessPool:
        """The pool of a checkpoint.

        Raises:
            ValueError: another version, or an episode's fields are not what they should be.
        """
        if data.get("version") != POOL_VERSION:
            raise ValueError(
                f"success pool: checkpoint state has version {data.get('version')!r}, expected {POOL_VERSION}"
            )
        pool, names = cls(per_type), {f.name for f in fields(Episode)}
        for item in data["episodes"]:
            if set(item) != names:
                raise ValueError(f"success pool: episode with missing or unknown fields {sorted(set(item) ^ names)}")
            turns = tuple((str(o), str(a)) for o, a in item["turns"])
            episode = Episode(**{**item, "turns": turns, "answers": tuple(item["answers"])})
            pool._episodes.setdefault(episode.task_type, []).append(episode)
        for kept in pool._episodes.values():
            del kept[:-per_type]
        return pool
