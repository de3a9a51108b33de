# SPDX-License-Identifier: Apache-2.0
"""Means over seeds with their intervals, differences paired over seeds, and the area under a learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.integrate import trapezoid

from benchmarks.siri_vs_gigpo.results import Key, Results
from benchmarks.siri_vs_gigpo.settings import METHODS, TRAINED, Method

LEVEL, RESAMPLES = 0.95, 10_000


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % intervals; None where one seed alone gives none."""

    n: int
    mean: float
    t: tuple[float, float] | None
    bootstrap: tuple[float, float] | None


def interval(values: Sequence[float]) -> Interval:
    """The mean of one value per seed.

    Args:
        values: at least one.

    Raises:
        ValueError: there is none.
    """
    given = np.asarray(values, dtype=float)
    if not given.size:
        raise ValueError("interval: no seed has a value")
    n, mean = given.size, float(given.mean())
    if n < 2:
        return Interval(n, mean, None, None)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * given.std(ddof=1) / np.sqrt(n))
    drawn = np.random.default_rng(0).choice(given, size=(RESAMPLES, n)).mean(axis=1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(n, mean, (mean - half, mean + half), (float(low), float(high)))


def paired(values: Mapping[Key, float], environment: str, method: str, against: str) -> Interval | None:
    """The method minus the other one, over the seeds that both have; None without one."""
    seeds = sorted(s for e, m, s in values if (e, m) == (environment, method) and (e, against, s) in values)
    if not seeds:
        return None
    return interval([values[environment, method, s] - values[environment, against, s] for s in seeds])


def area(points: Sequence[Mapping[str, Any]], until: float) -> float:
    """Mean validation success over environment steps 0 to `until`: trapezoids between validations, level outside.

    Args:
        points: of curves.json, at least one.
        until: environment steps, > 0.
    """
    x = np.array([p["env_steps"] for p in points], dtype=float)
    y = np.array([p["success"] for p in points], dtype=float)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    inside = x[(x > 0) & (x < until)]
    at = np.concatenate([[0.0], inside, [until]])
    return float(trapezoid(np.interp(at, x, y), at) / until)


def present(found: Results, environment: str, methods: Mapping[str, Method] = METHODS) -> list[str]:
    """Methods with a finished run, in the order of settings.py."""
    return [method for method in methods if any(name[:2] == (environment, method) for name in found.rows)]


def has_curve(method: str, methods: Mapping[str, Method] = METHODS) -> bool:
    """Whether the method trains; what evaluates another's policy has no curve of its own."""
    return methods[method].start != TRAINED


def areas(found: Results, environment: str, methods: Mapping[str, Method] = METHODS) -> dict[Key, float]:
    """The area under each finished run's curve, all up to the environment steps that the shortest reached."""
    names = [name for name in found.rows if name[0] == environment and has_curve(name[1], methods)]
    curves = {name: found.curves[name]["points"] for name in names}
    if not curves:
        return {}
    until = min(max(p["env_steps"] for p in points) for points in curves.values())
    return {name: area(points, until) for name, points in curves.items()}
