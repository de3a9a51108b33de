# SPDX-License-Identifier: Apache-2.0
"""Trajectories that skills may be mined from: the pool of recent plain successes and, on request, of near misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    """The newest plain successes of every task type. Serialisable, so that a resumed run mines the same.

    Args:
        per_type: trajectories kept per type.
        near_misses: for types without a success so far, keep the plain trajectories of the highest native score above
            0 instead.
    """

    def __init__(self, per_type: int, near_misses: bool = False):
        if per_type < 1:
            raise ValueError(f"success pool: per_type={per_type}, use at least 1")
        self.per_type, self.near_misses = per_type, near_misses
        self._trajectories: dict[str, list[SourceTrajectory]] = {}
        self._near: dict[str, list[tuple[float, SourceTrajectory]]] = {}
        self._solved: set[str] = set()

    def __len__(self) -> int:
        return sum(map(len, self._trajectories.values())) + sum(map(len, self._near.values()))

    def add(self, trajectories: Iterable[SourceTrajectory], scores: Mapping[str, float] | None = None) -> int:
        """Add the plain successes among the trajectories of a step; returns how many there were.

        Per type the newest stay; the order of arrival within a step does not matter.

        Args:
            trajectories: of the step.
            scores: trajectory -> native score, for near misses; without it none is kept.
        """
        plain = [t for t in trajectories if t.arm == PLAIN and t.turns]
        fresh = [t for t in plain if t.success]
        if self.near_misses:
            self._add_near_misses(plain, scores or {})
        for trajectory in sorted(fresh, key=lambda t: (t.step, t.task_id, t.trajectory)):
            kept = self._trajectories.setdefault(trajectory.task_type, [])
            kept.append(trajectory)
            del kept[: -self.per_type]
        return len(fresh)

    def _add_near_misses(self, plain: list[SourceTrajectory], scores: Mapping[str, float]) -> None:
        self._solved |= {t.task_type for t in plain if t.success}
        for name in self._solved & self._near.keys():
            del self._near[name]
        for trajectory in plain:
            score = scores.get(trajectory.trajectory, 0.0)
            if score > 0 and trajectory.task_type not in self._solved:
                kept = self._near.setdefault(trajectory.task_type, [])
                kept.append((score, trajectory))
                kept.sort(key=lambda entry: (entry[0], entry[1].step, entry[1].task_id, entry[1].trajectory))
                del kept[: -self.per_type]

    def of_type(self, task_type: str) -> tuple[SourceTrajectory, ...]:
        """A type's successes, oldest first; of a type without any so far, its near misses, lowest score first."""
        return (*self._trajectories.get(task_type, ()), *(near for _, near in self._near.get(task_type, ())))

    def types(self) -> list[str]:
        """Task types with a trajectory, by name."""
        return sorted({name for kept in (self._trajectories, self._near) for name, some in kept.items() if some})

    def remove(self, trajectories: Iterable[SourceTrajectory]) -> None:
        """Remove trajectories that have been mined."""
        for trajectory in trajectories:
            kept = self._trajectories.get(trajectory.task_type, [])
            if trajectory in kept:
                kept.remove(trajectory)
            near = self._near.get(trajectory.task_type, [])
            near[:] = [entry for entry in near if entry[1] != trajectory]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        trajectories = [asdict(t) for name in self.types() for t in self._trajectories.get(name, ())]
        data: dict[str, Any] = {"version": POOL_VERSION, "episodes": trajectories}
        if self.near_misses:
            near = [entry for name in self.types() for entry in self._near.get(name, ())]
            data["near_misses"] = [{"score": score, "episode": asdict(t)} for score, t in near]
            data["solved"] = sorted(self._solved)
        return data

    @classmethod
    def from_dict(cls, per_type: int, data: dict[str, Any], near_misses: bool = False) -> SuccessPool:
        """The pool of a checkpoint.

        Raises:
            ValueError: another version, or a trajectory with missing or unknown fields.
        """
        if data.get("version") != POOL_VERSION:
            raise ValueError(
                f"success pool: checkpoint state has version {data.get('version')!r}, expected {POOL_VERSION}"
            )
        pool = cls(per_type, near_misses)
        for item in data["episodes"]:
            trajectory = _trajectory(item)
            pool._trajectories.setdefault(trajectory.task_type, []).append(trajectory)
        if near_misses:
            pool._solved = {*data.get("solved", ()), *pool._trajectories}
            for item in data.get("near_misses", ()):
                trajectory = _trajectory(item["episode"])
                pool._near.setdefault(trajectory.task_type, []).append((float(item["score"]), trajectory))
        for kept in pool._trajectories.values():
            del kept[:-per_type]
        for near in pool._near.values():
            del near[:-per_type]
        return pool


def _trajectory(item: dict[str, Any]) -> SourceTrajectory:
    names = {f.name for f in fields(SourceTrajectory)}
    if set(item) != names:
        raise ValueError(f"success pool: trajectory with missing or unknown fields {sorted(set(item) ^ names)}")
    turns = tuple((str(o), str(a)) for o, a in item["turns"])
    return SourceTrajectory(**{**item, "turns": turns, "answers": tuple(item["answers"])})
