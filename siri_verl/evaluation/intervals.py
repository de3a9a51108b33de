# SPDX-License-Identifier: Apache-2.0
"""Intervals of an evaluation's means.

Wilson's interval of a success rate takes every episode as drawn on its own. Episodes of one task are alike, so where
tasks are repeated the unit is the task: a percentile bootstrap over the tasks' means. Where all tasks have the same
mean a bootstrap has no width and would claim certainty; there the interval is that of `siri_verl.core.confidence`,
which holds for any number of tasks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from siri_verl.core.confidence import confidence_sequence
from siri_verl.training.batch_metrics import wilson

BOOTSTRAP, BOUNDED = "bootstrap over tasks", "betting over tasks"
RESAMPLES = 10_000


@dataclass(frozen=True)
class Mean:
    """A mean over episodes with its interval.

    Attributes:
        mean: each task counted once.
        low, high: ends of the interval.
        method: `bootstrap over tasks` or `betting over tasks`.
    """

    mean: float
    low: float
    high: float
    method: str


def clustered_mean(task: Sequence[Hashable], value: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Mean:
    """The mean of values in [0, 1], and its interval, with tasks as units.

    Args:
        task: (episodes,) the task of each episode.
        value: (episodes,) success or score.
        level: coverage, in (0, 1).
        seed: of the resampling.

    Raises:
        ValueError: there is no episode, or a value lies outside [0, 1].
    """
    values = np.asarray(value, dtype=np.float64)
    bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(bad):
        raise ValueError(
            f"evaluation: a value of task {task[bad[0]]!r} is {values[bad[0]]}; success and native score lie in [0, 1] "
            "(siri_verl/envs/base.py, TurnInfo)"
        )
    if not len(values):
        raise ValueError("evaluation: no episode to average")
    codes: dict[Hashable, int] = {}
    of_task = np.array([codes.setdefault(name, len(codes)) for name in task])
    means = np.bincount(of_task, weights=values) / np.bincount(of_task)
    if np.ptp(means) < 1e-12:
        low, high = confidence_sequence(means.tolist(), level)
        return Mean(float(means[0]), max(low, 0.0), min(high, 1.0), BOUNDED)
    rng = np.random.default_rng(seed)
    # In blocks, so that a panel of thousands of tasks needs no table of 10,000 times as many.
    blocks = np.array_split(np.empty(RESAMPLES), max(1, RESAMPLES * len(means) // 4_000_000))
    draws = [means[rng.integers(len(means), size=(len(block), len(means)))].mean(axis=1) for block in blocks]
    low, high = np.quantile(np.concatenate(draws), [(1 - level) / 2, (1 + level) / 2])
    return Mean(float(means.mean()), float(low), float(high), BOOTSTRAP)


def wilson_interval(successes: int, episodes: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a success rate."""
    return wilson(successes, episodes, level)
