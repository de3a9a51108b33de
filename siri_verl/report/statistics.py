# SPDX-License-Identifier: Apache-2.0
"""Curves over seeds and the area under them.

The unit is the run: with several seeds an interval is Student's t over runs. One run has no spread over seeds; its
interval is Wilson's over the validation's episodes, which measures the uncertainty of that one policy, not the
spread of the method. Every interval states its kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import t as student_t

from siri_verl.report.curve import CurvePoint
from siri_verl.report.methods import Method

OVER_SEEDS, OVER_EPISODES = "t over seeds", "Wilson over episodes"
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: over `n` runs.
        low, high: None where the data give no interval.
        n: runs.
        method: `t over seeds` or `Wilson over episodes`; "" without interval.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    method: str = ""


@dataclass(frozen=True)
class Band:
    """A mean curve. Arrays are (points,)."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    method: str


def over_runs(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean and t interval over runs; no interval from one.

    Args:
        values: one per run.
        bounds: the interval is cut to them.
    """
    given = np.asarray(values, dtype=float)
    mean, n = float(given.mean()), len(given)
    if n < 2:
        return Estimate(mean, None, None, n)
    half = float(student_t.ppf((1 + LEVEL) / 2, n - 1) * given.std(ddof=1) / np.sqrt(n))
    low, high = mean - half, mean + half
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(mean, low, high, n, OVER_SEEDS)


def success_band(method: Method, axis: str) -> Band | None:
    """The method's validation success with its interval.

    Steps that all its runs validated are compared. Over environment steps, where runs differ a little at the same
    iteration, each run is read off at their mean.

    Args:
        method: with at least one run that validated.
        axis: `step` or `env_steps`.

    Returns:
        None where no run validated, or one does not count its environment steps.
    """
    curves = [run.curve for run in method.runs if run.curve]
    if not curves:
        return None
    if any(getattr(p, axis) is None for curve in curves for p in curve):
        return None
    if len(curves) == 1:
        x, mean, low, high = np.array([(getattr(p, axis), p.success, p.low, p.high) for p in curves[0]], float).T
        return Band(x, mean, low, high, 1, OVER_EPISODES)
    shared = sorted(set.intersection(*({p.step for p in curve} for curve in curves)))
    if not shared:
        return None
    x = np.array([np.mean([getattr(p, axis) for c in curves for p in c if p.step == step]) for step in shared])
    values = np.array([read_off(curve, axis, x) for curve in curves])
    bounds = shares([point for curve in curves for point in curve])
    estimates = [over_runs(column, bounds) for column in values.T]
    mean, low, high = np.array([(e.mean, e.low, e.high) for e in estimates], dtype=float).T
    return Band(x, mean, low, high, len(curves), OVER_SEEDS)


def read_off(curve: Sequence[CurvePoint], axis: str, x: np.ndarray) -> np.ndarray:
    """Success at these places, straight lines between validations, level outside them."""
    places = np.array([getattr(p, axis) for p in curve], dtype=float)
    return np.interp(x, places, [p.success for p in curve])


def final_success(method: Method) -> Estimate | None:
    """Success at each run's last validation."""
    last = [run.curve[-1] for run in method.runs if run.curve]
    if not last:
        return None
    if len(last) == 1:
        return of_point(last[0])
    return over_runs([p.success for p in last], shares(last))


def of_point(point: CurvePoint) -> Estimate:
    """A validation of one run; without interval where its number of episodes is unknown."""
    if math.isnan(point.low):
        return Estimate(point.success, None, None, 1)
    return Estimate(point.success, point.low, point.high, 1, OVER_EPISODES)


def shares(points: Sequence[CurvePoint]) -> tuple[float, float] | None:
    """(0, 1) where all points are shares; None for rewards, which have no bounds."""
    return (0.0, 1.0) if all(0 <= point.success <= 1 for point in points) else None


def final_score(method: Method) -> Estimate | None:
    """Native score at each run's last validation."""
    series = [run.series("siri/val/score", "validation") for run in method.runs]
    last = [float(scores.values[-1]) for scores in series if len(scores)]
    return over_runs(last) if last else None


def common_budget(methods: Sequence[Method]) -> tuple[float, float] | None:
    """The environment steps that every run's curve covers (from, to); None where there is no such stretch."""
    curves = [run.curve for method in methods for run in method.runs if len(run.curve) > 1]
    if not curves or any(p.env_steps is None for curve in curves for p in curve):
        return None
    start, end = max(c[0].env_steps for c in curves), min(c[-1].env_steps for c in curves)
    return (float(start), float(end)) if end > start else None


def area(curve: Sequence[CurvePoint], budget: tuple[float, float]) -> float:
    """Area under the success curve over a stretch of environment steps, divided by its length: mean success on the
    way, in [0, 1]."""
    start, end = budget
    inside = [p.env_steps for p in curve if p.env_steps is not None and start < p.env_steps < end]
    x = np.unique(np.array([start, *inside, end], dtype=float))
    return float(trapezoid(read_off(curve, "env_steps", x), x) / (end - start))


def method_area(method: Method, budget: tuple[float, float] | None) -> Estimate | None:
    """The area of a method's runs."""
    curves = [run.curve for run in method.runs if len(run.curve) > 1]
    if budget is None or not curves:
        return None
    return over_runs([area(curve, budget) for curve in curves], shares([p for curve in curves for p in curve]))
