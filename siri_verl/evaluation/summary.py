# SPDX-License-Identifier: Apache-2.0
"""An evaluation in numbers: docs/run_folder.md describes each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from siri_verl.core.statistics import clustered_mean, paired_effect, wilson
from siri_verl.trajectory.turn import Trajectory

SCHEMA, VERSION = "siri_verl.evaluation", 1


def summarize(
    trajectories: Sequence[Trajectory], *, max_response_length: int, level: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """The numbers of finished episodes.

    Args:
        trajectories: of all trials.
        max_response_length: a reply of that many tokens counts as cut.
        level: coverage of the intervals.
        seed: of the bootstrap.

    Returns:
        JSON values. Success and score are those of each sample's last trial; turns, tokens and shares cover all trials.

    Raises:
        ValueError: there is no episode.
    """
    last = last_trials(trajectories)
    numbers = {"samples": len(last), "tasks": len({t.task_id for t in last})}
    by_type: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in last:
        by_type[trajectory.category or trajectory.task_type].append(trajectory)
    problems = Counter(turn.problem for t in trajectories for turn in t.turns if turn.problem)
    return {
        **numbers,
        **_outcome(last, level, seed),
        "success_by_repetition": _by_repetition(last),
        "by_type": {
            name: {"samples": len(some), "tasks": len({t.task_id for t in some}), **_outcome(some, level, seed)}
            for name, some in sorted(by_type.items())
        },
        "trials": _by_trial(trajectories),
        "env_steps": sum(len(t.turns) for t in trajectories),
        "turns": float(np.mean([len(t.turns) for t in last])),
        **_tokens(trajectories),
        "shares": _shares(trajectories, max_response_length),
        "problems": dict(sorted(problems.items())),
        "statuses": dict(sorted(Counter(t.status for t in last).items())),
        "skills": _skills(last),
    }


def last_trials(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The last trial of every sample."""
    last: dict[tuple[str, int], Trajectory] = {}
    for trajectory in trajectories:
        key = trajectory.task_id, trajectory.session
        if key not in last or trajectory.trial > last[key].trial:
            last[key] = trajectory
    return list(last.values())


def compare(trajectories: Sequence[Trajectory], others: Sequence[Trajectory], level: float = 0.95) -> dict[str, Any]:
    """The paired difference on the tasks both evaluations played: these minus the others, each task counted once.

    Args:
        trajectories: of this evaluation.
        others: of the other one.
        level: coverage of the intervals.

    Returns:
        `success` and `score`, as siri_verl/core/paired.py has them: `plain` is the other, `skill` this one.
    """

    def effect(value: Callable[[Trajectory], float]) -> dict[str, Any]:
        means = [_task_means(some, value) for some in (trajectories, others)]
        both = sorted(means[0].keys() & means[1].keys())
        if not both:
            raise ValueError("comparison: the two evaluations have no task in common")
        paired = asdict(paired_effect(both, [means[1][t] for t in both], [means[0][t] for t in both], level))
        names = {"plain": "other", "skill": "this"}
        return {names.get(name, name): number for name, number in paired.items() if name != "pairs"}

    return {"success": effect(lambda t: float(t.success)), "score": effect(lambda t: t.score)}


def _task_means(trajectories: Sequence[Trajectory], value: Callable[[Trajectory], float]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for trajectory in last_trials(trajectories):
        values[trajectory.task_id].append(value(trajectory))
    return {task: float(np.mean(some)) for task, some in values.items()}


def _outcome(trajectories: Sequence[Trajectory], level: float, seed: int) -> dict[str, Any]:
    tasks = [t.task_id for t in trajectories]
    success = [float(t.success) for t in trajectories]
    return {
        "success": {
            **asdict(clustered_mean(tasks, success, level=level, seed=seed)),
            "wilson": list(wilson(int(sum(success)), len(success), level)),
        },
        "score": asdict(clustered_mean(tasks, [t.score for t in trajectories], level=level, seed=seed)),
    }


def _by_repetition(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Success of every repetition of the panel, and how far they spread."""
    repetitions: dict[int, list[bool]] = defaultdict(list)
    for trajectory in trajectories:
        repetitions[trajectory.session].append(trajectory.success)
    means = [float(np.mean(repetitions[number])) for number in sorted(repetitions)]
    return {"values": means, "std": float(np.std(means, ddof=1)) if len(means) > 1 else None}


def _by_trial(trajectories: Sequence[Trajectory]) -> list[float] | None:
    """Share of samples solved within 1, 2, ... trials; None if every sample had one trial."""
    trials = max(t.trial for t in trajectories)
    if trials == 1:
        return None
    samples = len(last_trials(trajectories))
    solved = Counter(t.trial for t in trajectories if t.success)
    return [sum(solved[t] for t in range(1, trial + 1)) / samples for trial in range(1, trials + 1)]


def _tokens(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Tokens read and written; None where the endpoint does not count them."""
    counts: dict[str, Any] = {}
    for name in ("prompt_tokens", "reply_tokens"):
        values = [[getattr(turn, name) for turn in t.turns] for t in trajectories]
        if not any(values) or any(value is None for some in values for value in some):
            counts[name] = None
            continue
        total, turns = sum(map(sum, values)), sum(map(len, values))
        counts[name] = {"total": total, "per_episode": total / len(values), "per_turn": total / turns}
    return counts


def _shares(trajectories: Sequence[Trajectory], max_response_length: int) -> dict[str, float | None]:
    """Shares of turns."""
    turns = [turn for t in trajectories for turn in t.turns]
    if not turns:
        return dict.fromkeys(("invalid", "inadmissible", "reply_cut", "history_dropped"))
    counted = [turn.reply_tokens for turn in turns if turn.reply_tokens is not None]
    return {
        "invalid": float(np.mean([not turn.valid for turn in turns])),
        # A malformed reply does nothing either; here only those that are well-formed and still did nothing.
        "inadmissible": float(np.mean([turn.valid and not turn.admissible for turn in turns])),
        "reply_cut": float(np.mean([count >= max_response_length for count in counted])) if counted else None,
        "history_dropped": float(np.mean([turn.history_dropped > 0 for turn in turns])),
    }


def _skills(trajectories: Sequence[Trajectory]) -> dict[str, Any] | None:
    """How often skills were in the prompt, and success by skill; None where none was."""
    shown: dict[str, list[bool]] = defaultdict(list)
    for trajectory in trajectories:
        if trajectory.skill_id:
            shown[trajectory.skill_id].append(trajectory.success)
    if not shown:
        return None
    return {
        "shown_share": sum(map(len, shown.values())) / len(trajectories),
        "left_out_share": float(np.mean([t.skill_missing for t in trajectories])),
        "by_skill": {
            name: {"samples": len(some), "success": float(np.mean(some))} for name, some in sorted(shown.items())
        },
    }
