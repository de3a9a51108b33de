# SPDX-License-Identifier: Apache-2.0
"""Trajectories that skills may be mined from, and the pool of recent plain successes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from siri_verl.core.pairing import PLAIN
from siri_verl.skills.mining_prompt import TrajectoryTurn

POOL_VERSION = 1


@dataclass(frozen=True)
class SourceTrajectory:
    """A finished trajectory with the facts that mining needs.

    Attributes:
        task_id: its task.
        task: the task text.
        task_type: the task's type, read from that text.
        trajectory: its name.
        step: the training step.
        turns: (observation, action) pairs in order, without the final observation.
        success: whether the task was solved.
        arm: `plain` or `skill`.
        answers: texts that solve this one task, as the environment states them (`answers` of
            siri_verl.envs.base.TurnInfo); a skill must not quote them. `siri_verl.skills.leaks` adds those that the
            turns show.
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
    """The newest plain successes of every task type. Serialisable, so that a resumed run mines the same."""

    def __init__(self, per_type: int):
        if per_type < 1:
            raise ValueError(f"success pool: per_type={per_type}, use at least 1")
        self.per_type = per_type
        self._trajectories: dict[str, list[SourceTrajectory]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._trajectories.values()))

    def add(self, trajectories: Iterable[SourceTrajectory]) -> int:
        """Add the plain successes among the trajectories of a step; returns how many there were.

        Per type the newest stay; the order of arrival within a step does not matter.
        """
        fresh = [t for t in trajectories if t.success and t.arm == PLAIN and t.turns]
        for trajectory in sorted(fresh, key=lambda t: (t.step, t.task_id, t.trajectory)):
            kept = self._trajectories.setdefault(trajectory.task_type, [])
            kept.append(trajectory)
            del kept[: -self.per_type]
        return len(fresh)

    def of_type(self, task_type: str) -> tuple[SourceTrajectory, ...]:
        """A type's trajectories, oldest first."""
        return tuple(self._trajectories.get(task_type, ()))

    def types(self) -> list[str]:
        """Task types with a trajectory, by name."""
        return sorted(name for name, trajectories in self._trajectories.items() if trajectories)

    def remove(self, trajectories: Iterable[SourceTrajectory]) -> None:
        """Remove trajectories that have been mined."""
        for trajectory in trajectories:
            kept = self._trajectories.get(trajectory.task_type, [])
            if trajectory in kept:
                kept.remove(trajectory)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        trajectories = [asdict(t) for name in self.types() for t in self._trajectories[name]]
        return {"version": POOL_VERSION, "episodes": trajectories}

    @classmethod
    def from_dict(cls, per_type: int, data: dict[str, Any]) -> SuccessPool:
        """The pool of a checkpoint.

        Raises:
            ValueError: another version, or a trajectory with missing or unknown fields.
        """
        if data.get("version") != POOL_VERSION:
            raise ValueError(
                f"success pool: checkpoint state has version {data.get('version')!r}, expected {POOL_VERSION}"
            )
        pool, names = cls(per_type), {f.name for f in fields(SourceTrajectory)}
        for item in data["episodes"]:
            if set(item) != names:
                raise ValueError(f"success pool: trajectory with missing or unknown fields {sorted(set(item) ^ names)}")
            turns = tuple((str(o), str(a)) for o, a in item["turns"])
            trajectory = SourceTrajectory(**{**item, "turns": turns, "answers": tuple(item["answers"])})
            pool._trajectories.setdefault(trajectory.task_type, []).append(trajectory)
        for kept in pool._trajectories.values():
            del kept[:-per_type]
        return pool
