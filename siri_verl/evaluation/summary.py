# SPDX-License-Identifier: Apache-2.0
"""An evaluation in numbers: docs/run_folder.md says what each one means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from siri_verl.core.statistics import clustered_mean, paired_effect, wilson

SCHEMA, VERSION = "siri_verl.evaluation", 1
Record = Mapping[str, Any]


def summarize(
    records: Sequence[Record], *, max_response_length: int, level: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """The numbers of finished episodes.

    Args:
        records: episodes of all trials (siri_verl/evaluation/log.py).
        max_response_length: a reply of that many tokens counts as cut.
        level: coverage of the intervals.
        seed: of the bootstrap.

    Returns:
        JSON values. Success and score are those of each sample's last trial; turns, tokens and shares cover all trials.

    Raises:
        ValueError: there is no episode.
    """
    last = last_trials(records)
    numbers = {"samples": len(last), "tasks": len({r["task_id"] for r in last})}
    by_type: dict[str, list[Record]] = defaultdict(list)
    for record in last:
        by_type[record["category"] or record["task_type"]].append(record)
    return {
        **numbers,
        **_outcome(last, level, seed),
        "success_by_repetition": _by_repetition(last),
        "by_type": {
            name: {"samples": len(some), "tasks": len({r["task_id"] for r in some}), **_outcome(some, level, seed)}
            for name, some in sorted(by_type.items())
        },
        "trials": _by_trial(records),
        "env_steps": sum(len(r["turns"]) for r in records),
        "turns": float(np.mean([len(r["turns"]) for r in last])),
        **_tokens(records),
        "shares": _shares(records, max_response_length),
        "problems": dict(sorted(Counter(t["problem"] for r in records for t in r["turns"] if t["problem"]).items())),
        "statuses": dict(sorted(Counter(r["status"] for r in last).items())),
        "skills": _skills(last),
    }


def last_trials(records: Sequence[Record]) -> list[Record]:
    """The last trial of every sample."""
    last: dict[tuple[str, int], Record] = {}
    for record in records:
        key = record["task_id"], record["repetition"]
        if key not in last or record["trial"] > last[key]["trial"]:
            last[key] = record
    return list(last.values())


def compare(records: Sequence[Record], others: Sequence[Record], level: float = 0.95) -> dict[str, Any]:
    """The paired difference on the tasks both evaluations played: these minus the others, each task counted once.

    Args:
        records: of this evaluation.
        others: of the other one.
        level: coverage of the intervals.

    Returns:
        `success` and `score`, as siri_verl/core/paired.py has them: `plain` is the other, `skill` this one.
    """

    def effect(value: Callable[[Record], float]) -> dict[str, Any]:
        means = [_task_means(some, value) for some in (records, others)]
        both = sorted(means[0].keys() & means[1].keys())
        if not both:
            raise ValueError("comparison: the two evaluations have no task in common")
        paired = asdict(paired_effect(both, [means[1][t] for t in both], [means[0][t] for t in both], level))
        names = {"plain": "other", "skill": "this"}
        return {names.get(name, name): number for name, number in paired.items() if name != "pairs"}

    return {"success": effect(lambda r: float(r["success"])), "score": effect(lambda r: r["score"])}


def _task_means(records: Sequence[Record], value: Callable[[Record], float]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for record in last_trials(records):
        values[record["task_id"]].append(value(record))
    return {task: float(np.mean(some)) for task, some in values.items()}


def _outcome(records: Sequence[Record], level: float, seed: int) -> dict[str, Any]:
    tasks = [r["task_id"] for r in records]
    success = [float(r["success"]) for r in records]
    return {
        "success": {
            **asdict(clustered_mean(tasks, success, level=level, seed=seed)),
            "wilson": list(wilson(int(sum(success)), len(success), level)),
        },
        "score": asdict(clustered_mean(tasks, [r["score"] for r in records], level=level, seed=seed)),
    }


def _by_repetition(records: Sequence[Record]) -> dict[str, Any]:
    """Success of every repetition of the panel, and how far they spread."""
    repetitions: dict[int, list[bool]] = defaultdict(list)
    for record in records:
        repetitions[record["repetition"]].append(record["success"])
    means = [float(np.mean(repetitions[number])) for number in sorted(repetitions)]
    return {"values": means, "std": float(np.std(means, ddof=1)) if len(means) > 1 else None}


def _by_trial(records: Sequence[Record]) -> list[float] | None:
    """Share of samples solved within 1, 2, ... trials; None where nobody tried twice."""
    trials = max(r["trial"] for r in records)
    if trials == 1:
        return None
    samples = len(last_trials(records))
    solved = Counter(r["trial"] for r in records if r["success"])
    return [sum(solved[t] for t in range(1, trial + 1)) / samples for trial in range(1, trials + 1)]


def _tokens(records: Sequence[Record]) -> dict[str, Any]:
    """Tokens read and written; None where the endpoint does not count them."""
    counts: dict[str, Any] = {}
    for name in ("prompt_tokens", "reply_tokens"):
        values = [[turn[name] for turn in r["turns"]] for r in records]
        if not any(values) or any(value is None for some in values for value in some):
            counts[name] = None
            continue
        total, turns = sum(map(sum, values)), sum(map(len, values))
        counts[name] = {"total": total, "per_episode": total / len(values), "per_turn": total / turns}
    return counts


def _shares(records: Sequence[Record], max_response_length: int) -> dict[str, float | None]:
    """Shares of turns."""
    turns = [turn for r in records for turn in r["turns"]]
    if not turns:
        return dict.fromkeys(("invalid", "inadmissible", "reply_cut", "history_dropped"))
    counted = [turn["reply_tokens"] for turn in turns if turn["reply_tokens"] is not None]
    return {
        "invalid": float(np.mean([turn["problem"] is not None for turn in turns])),
        # A malformed reply does nothing either; here only those that are well-formed and still did nothing.
        "inadmissible": float(np.mean([turn["problem"] is None and not turn["admissible"] for turn in turns])),
        "reply_cut": float(np.mean([count >= max_response_length for count in counted])) if counted else None,
        "history_dropped": float(np.mean([turn["history_dropped"] > 0 for turn in turns])),
    }


def _skills(records: Sequence[Record]) -> dict[str, Any] | None:
    """How often skills were in the prompt, and success by skill; None where none was."""
    shown: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        if record["skill_id"]:
            shown[record["skill_id"]].append(record["success"])
    if not shown:
        return None
    return {
        "shown_share": sum(map(len, shown.values())) / len(records),
        "left_out_share": float(np.mean([r["skill_missing"] for r in records])),
        "by_skill": {
            name: {"samples": len(some), "success": float(np.mean(some))} for name, some in sorted(shown.items())
        },
    }
