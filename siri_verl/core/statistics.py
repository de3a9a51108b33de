# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals of evaluations.

Wilson's interval of a success rate assumes independent episodes. Episodes of one task are correlated, so where tasks
are repeated the unit is the task: a percentile bootstrap over the tasks' means. Where all tasks have the same
mean a bootstrap has no width and would claim certainty; there the interval is that of `siri_verl.core.confidence`,
which holds for any number of tasks.

The effect of a skill from pairs of episodes: same task, same environment seed, one without and one with the skill.

Episodes of one task are correlated, so the task is the unit: a task counts once, with the mean of its pairs, and the
interval is Student's t over the tasks' mean differences. Where these do not differ at all a t-interval has no width
and would claim certainty; there, and for a single task, the interval is the one of `siri_verl.core.confidence`, which
holds for any number of tasks and any distribution of bounded differences.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from siri_verl.core.confidence import confidence_sequence

T_INTERVAL, BOUNDED_INTERVAL, NO_INTERVAL = "t over tasks", "betting over tasks", "none"
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


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a success rate."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class PairedEffect:
    """A paired comparison, in success units. NaN where there is no pair.

    Attributes:
        pairs: pairs that count.
        tasks: distinct tasks they are of.
        plain: success without the skill, each task counted once.
        skill: success with it.
        effect: skill - plain.
        low: lower end of the interval of the effect.
        high: its upper end.
        method: how the interval was computed: `t over tasks`, `betting over tasks` or `none`.
    """

    pairs: int
    tasks: int
    plain: float
    skill: float
    effect: float
    low: float
    high: float
    method: str

    @property
    def positive(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low > 0

    @property
    def negative(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high < 0


def paired_effect(
    task: Sequence[Hashable], plain: Sequence[float], skill: Sequence[float], level: float = 0.95
) -> PairedEffect:
    """The effect over pairs, and its interval.

    Args:
        task: (pairs,) the task of each pair.
        plain: (pairs,) success (or score) without the skill, in [0, 1].
        skill: (pairs,) the same with it.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: lengths differ, a value lies outside [0, 1], or `level` is out of range.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"paired effect: level={level}, must lie in (0, 1)")
    if not len(task) == len(plain) == len(skill):
        raise ValueError(f"paired effect: {len(task)} tasks, {len(plain)} plain and {len(skill)} skill outcomes")
    arms = np.array([plain, skill], dtype=np.float64)
    bad = np.argwhere(~((arms >= 0) & (arms <= 1)))
    if len(bad):
        arm, pair = bad[0]
        raise ValueError(f"paired effect: {('plain', 'skill')[arm]}[{pair}]={arms[arm, pair]}, must lie in [0, 1]")
    codes: dict[Hashable, int] = {}
    of_task = np.array([codes.setdefault(name, len(codes)) for name in task], dtype=np.int64)
    if not codes:
        return PairedEffect(0, 0, math.nan, math.nan, math.nan, math.nan, math.nan, NO_INTERVAL)
    counts = np.bincount(of_task)
    means = np.stack([np.bincount(of_task, weights=arm) / counts for arm in arms])
    difference = means[1] - means[0]
    low, high, method = _interval(difference, level)
    plain_mean, skill_mean = means.mean(axis=1)
    return PairedEffect(
        pairs=len(of_task),
        tasks=len(codes),
        plain=float(plain_mean),
        skill=float(skill_mean),
        effect=float(difference.mean()),
        low=low,
        high=high,
        method=method,
    )


def _interval(difference: np.ndarray, level: float) -> tuple[float, float, str]:
    """The interval of the mean of (tasks,) differences in [-1, 1], and how it came about."""
    tasks = len(difference)
    error = float(difference.std(ddof=1)) / math.sqrt(tasks) if tasks > 1 else 0.0
    if error < 1e-12:
        return *confidence_sequence(difference.tolist(), level), BOUNDED_INTERVAL
    low, high = stats.t.interval(level, tasks - 1, loc=float(difference.mean()), scale=error)
    # The effect of a success rate cannot leave [-1, 1].
    return max(float(low), -1.0), min(float(high), 1.0), T_INTERVAL
