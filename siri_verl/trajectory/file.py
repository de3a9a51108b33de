# SPDX-License-Identifier: Apache-2.0
"""A trajectory as a line of JSON: what was seen, replied and done, turn by turn. Version 1.

    {"record": "trajectory", "version": 1, "source": "validation", "step": 50, "task_id": "...", "task": "...",
     "category": "...", "session": 0, "arm": "plain", "skill_id": "", "skill": "", "status": "terminated",
     "success": true, "score": 1.0, "turns": [{"observation": "...", "reply": "...", "action": "...", "reward": 10.0,
     "valid": true, "admissible": true}, ...]}

Files of them are appended to; a run that goes back to an earlier step moves later ones to another file
(`siri_verl.files.set_aside`). A run that was resumed may hold one twice: the last counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from siri_verl.files import cut_torn_line, read_json_lines

TRAJECTORY_VERSION = 1
_START, _END = b'{"record": "trajectory"', b'"}'


class TrajectoryFileError(ValueError):
    """A line is no trajectory. The message names the file, the line and what is wrong."""


@dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        observation: what the environment showed before the action, without history or instructions.
        reply: everything the policy wrote.
        action: what the environment was given.
        reward: the training reward of this turn; None where there is no training.
        valid: the reply was well formed.
        admissible: the action did something.
    """

    observation: str
    reply: str
    action: str
    reward: float | None = None
    valid: bool = True
    admissible: bool = True


@dataclass(frozen=True)
class Trajectory:
    """One trajectory.

    Attributes:
        source: `training`, `validation`, or the name of an evaluation.
        step: training step; None outside a run.
        task_id, task, category: the task, its text, and the environment's name for its kind ("" if it has none).
        session: tells trajectories of one task apart.
        arm: `plain` or `skill`.
        skill_id, skill: the skill shown and its text, "" in the plain arm.
        status: why it ended.
        success, score: outcome; the environment's native score.
        turns: in order.
    """

    source: str
    step: int | None
    task_id: str
    task: str
    turns: tuple[Turn, ...]
    success: bool
    score: float | None = None
    category: str = ""
    session: int = 0
    arm: str = "plain"
    skill_id: str = ""
    skill: str = ""
    status: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it one: a later one with the same key replaces it."""
        return self.source, self.step, self.task_id, self.arm, self.session

    def line(self) -> str:
        """As a line of a file, without the line end."""
        content = {"record": "trajectory", "version": TRAJECTORY_VERSION, **asdict(self)}
        return json.dumps(content, ensure_ascii=False, allow_nan=False)


def shortened(text: str, longest: int) -> str:
    """A text of at most `longest` characters, and how many were left out."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]} [{more} more characters]"


def append_trajectories(path: Path, trajectories: Iterable[Trajectory]) -> None:
    """Add them at the end of a file. A last line that a crash tore is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_torn_line(path)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(trajectory.line() + "\n" for trajectory in trajectories))


def read_trajectories(path: Path) -> list[Trajectory]:
    """The trajectories of a file in their order; of those with one key, the last.

    A line that a crash tore is passed over: it is the beginning of a record, never a whole one.

    Raises:
        TrajectoryFileError: a line is no trajectory, or one of another version.
    """
    latest: dict[tuple[Any, ...], Trajectory] = {}
    for number, record in read_json_lines(path, _START, _END, TrajectoryFileError):
        trajectory = _from_record(record, f"{path}, line {number}")
        latest[trajectory.key] = trajectory
    return list(latest.values())


def _from_record(record: Any, where: str) -> Trajectory:
    if not isinstance(record, dict) or record.get("record") != "trajectory":
        raise TrajectoryFileError(
            f'{where}: expected an object with "record": "trajectory" (siri_verl/trajectory/file.py)'
        )
    if record.get("version") != TRAJECTORY_VERSION:
        raise TrajectoryFileError(
            f"{where}: version={record.get('version')!r}, this siri_verl reads version {TRAJECTORY_VERSION}"
        )
    values = _values(Trajectory, record, where)
    turns = values["turns"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise TrajectoryFileError(f"{where}: turns={type(turns).__name__}, expected a list of objects")
    values["turns"] = tuple(Turn(**_values(Turn, turn, f"{where}, turn {i}")) for i, turn in enumerate(turns, 1))
    return Trajectory(**values)


def _values(schema: Any, record: dict[str, Any], where: str) -> dict[str, Any]:
    """The schema's fields out of a record; further ones are a writer's own business."""
    missing = [f.name for f in fields(schema) if f.default is MISSING and f.name not in record]
    if missing:
        raise TrajectoryFileError(f"{where}: lacks {', '.join(missing)}")
    return {f.name: record[f.name] for f in fields(schema) if f.name in record}
