# SPDX-License-Identifier: Apache-2.0
"""What the page's trajectory browser holds: a bounded number of trajectories as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from siri_verl.report.prompts import spread
from siri_verl.report.reader import Run
from siri_verl.runs.folder import RunFolder
from siri_verl.trajectory.file import EVALUATION, read_trajectories, shortened
from siri_verl.trajectory.turn import Trajectory

MOST_CHARS = 6_000_000
"""Text of all trajectories on the page."""
LONGEST = 3000
"""Characters of one observation or reply on the page."""


@dataclass
class Browser:
    """Content of the browser.

    Attributes:
        trajectories: for JSON, in order of run, source, step and task.
        total: how many there were.
        without: names of runs that keep none.
    """

    trajectories: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    without: list[str] = field(default_factory=list)


def collect(runs: Sequence[Run], extra: Sequence[Path] = (), most: int = 400) -> Browser:
    """Read the trajectories of runs and of further files.

    Args:
        runs: of the report.
        extra: files of `siri-verl eval`, or of runs that are not in the report.
        most: trajectories on the page; where there are more, steps are thinned out evenly.

    Raises:
        FileNotFoundError: a further file does not exist.
        TrajectoryFileError: a line is damaged.
    """
    browser = Browser()
    groups: list[list[tuple[str, Trajectory]]] = []
    for run in runs:
        folder = RunFolder(run.folder)
        file = folder.trajectories
        if file.is_file():
            groups += by_moment([(run.name, t) for t in read(file)])
        else:
            browser.without.append(run.name)
        for evaluation in folder.evaluations():
            if evaluation.trajectories.is_file():
                groups += by_moment([(run.name, t) for t in read(evaluation.trajectories)])
    for file in extra:
        if not file.is_file():
            raise FileNotFoundError(f"--trajectories {file}: no such file; give a file of siri-verl eval or of a run")
        groups += by_moment([(f"{file.parent.name}/{file.name}", t) for t in read(file)])
    browser.total = sum(map(len, groups))
    kept = thin(groups, most)
    room = MOST_CHARS
    for name, trajectory in kept:
        plain = _plain(name, trajectory)
        room -= sum(len(turn["o"]) + len(turn["r"]) for turn in plain["turns"])
        if room < 0:
            break
        browser.trajectories.append(plain)
    return browser


def read(file: Path) -> list[Trajectory]:
    """Trajectories of a run or of an evaluation; those of an evaluation are named after its folder.

    Raises:
        TrajectoryFileError: the file is neither, or damaged.
    """
    found = read_trajectories(file)
    if found.kind != EVALUATION:
        return found.trajectories
    return [replace(trajectory, source=f"eval {file.parent.name}") for trajectory in found.trajectories]


def by_moment(items: list[tuple[str, Trajectory]]) -> list[list[tuple[str, Trajectory]]]:
    """Trajectories of one run, source and step together."""
    moments: dict[Any, list[tuple[str, Trajectory]]] = {}
    for name, trajectory in items:
        moments.setdefault((name, trajectory.source, trajectory.step or 0), []).append((name, trajectory))
    # Validation on the plain prompt comes first.
    return [moments[key] for key in sorted(moments, key=lambda key: (key[0], key[1] != "validation", *key[1:]))]


def thin(groups: list[list[tuple[str, Trajectory]]], most: int) -> list[tuple[str, Trajectory]]:
    """At most so many: whole moments are left out first, evenly, then the last of each moment."""
    total = sum(map(len, groups))
    if total <= most:
        return [item for group in groups for item in group]
    each = max(1, round(total / len(groups)))
    chosen = spread(groups, max(2, most // each)) if len(groups) > 2 else groups
    share = max(1, most // len(chosen))
    return [item for group in chosen for item in group[:share]][:most]


def _plain(name: str, trajectory: Trajectory) -> dict[str, Any]:
    # Short names: they stand before every value of every turn.
    return {
        "run": name,
        "source": trajectory.source,
        "step": trajectory.step,
        "task_id": trajectory.task_id,
        "task": shortened(trajectory.task, LONGEST),
        "category": trajectory.category,
        "session": trajectory.session,
        "arm": trajectory.arm,
        "skill_id": trajectory.skill_id,
        "skill": trajectory.skill_text,
        "status": trajectory.status,
        "success": trajectory.success,
        "score": trajectory.score,
        "why": shortened(trajectory.explanation, LONGEST),
        "final": shortened(trajectory.final_observation, LONGEST),
        "turns": [
            {
                "o": shortened(turn.observation, LONGEST),
                "r": shortened(turn.reply, LONGEST),
                "a": turn.action,
                "w": turn.reward,
                "v": turn.valid,
                "d": turn.admissible,
            }
            for turn in trajectory.turns
        ],
    }
