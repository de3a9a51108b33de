# SPDX-License-Identifier: Apache-2.0
"""Curves over seeds, the area under them, and differences of methods paired by seed.

The unit is the run: with several seeds an interval is Student's t over runs. One run has no spread over seeds; its
interval is Wilson's over the validation's episodes, which measures the uncertainty of that one policy, not the
spread of the method. Every interval states its kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import t as student_t

from siri_verl.report.methods import Method
from siri_verl.report.reader import CurvePoint, Run

OVER_SEEDS, OVER_EPISODES = "t over seeds", "Wilson over episodes"
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: over `n` runs.
        low, high: None where one run alone gives none.
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
    """
    curves = [run.curve for run in method.runs if run.curve]
    if not curves:
        return None
    if len(curves) == 1:
        x, mean, low, high = np.array([(getattr(p, axis), p.success, p.low, p.high) for p in curves[0]], float).T
        return Band(x, mean, low, high, 1, OVER_EPISODES)
    shared = sorted(set.intersection(*({p.step for p in curve} for curve in curves)))
    if not shared:
        return None
    x = np.array([np.mean([getattr(p, axis) for c in curves for p in c if p.step == step]) for step in shared])
    values = np.array([read_off(curve, axis, x) for curve in curves])
    estimates = [over_runs(column, (0.0, 1.0)) for column in values.T]
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
        return Estimate(last[0].success, last[0].low, last[0].high, 1, OVER_EPISODES)
    return over_runs([p.success for p in last], (0.0, 1.0))


def final_score(method: Method) -> Estimate | None:
    """Native score at each run's last validation."""
    series = [run.series("siri/val/score", "validation") for run in method.runs]
    last = [float(scores.values[-1]) for scores in series if len(scores)]
    return over_runs(last) if last else None


def common_budget(methods: Sequence[Method]) -> tuple[float, float] | None:
    """The environment steps that every run's curve covers (from, to); None where there is no such stretch."""
    curves = [run.curve for method in methods for run in method.runs if len(run.curve) > 1]
    if not curves:
        return None
    start, end = max(c[0].env_steps for c in curves), min(c[-1].env_steps for c in curves)
    return (float(start), float(end)) if end > start else None


def area(curve: Sequence[CurvePoint], budget: tuple[float, float]) -> float:
    """Area under the success curve over a stretch of environment steps, divided by its length: mean success on the
    way, in [0, 1]."""
    start, end = budget
    inside = [p.env_steps for p in curve if start < p.env_steps < end]
    x = np.unique(np.array([start, *inside, end], dtype=float))
    return float(trapezoid(read_off(curve, "env_steps", x), x) / (end - start))


def method_area(method: Method, budget: tuple[float, float] | None) -> Estimate | None:
    """The area of a method's runs."""
    curves = [run.curve for run in method.runs if len(run.curve) > 1]
    if budget is None or not curves:
        return None
    return over_runs([area(curve, budget) for curve in curves], (0.0, 1.0))


@dataclass(frozen=True)
class Difference:
    """One method minus another over the seeds both have."""

    first: str
    second: str
    seeds: list[int]
    success: Estimate
    area: Estimate | None


def paired_differences(methods: Sequence[Method], budget: tuple[float, float] | None) -> list[Difference]:
    """Every method that shares at least two seeds with the reference, minus the reference.

    The reference is the method named `gigpo`, else the first.
    """
    reference = next((method for method in methods if method.name == "gigpo"), methods[0])
    of_reference = _by_seed(reference)
    found = []
    for method in methods:
        mine = _by_seed(method)
        seeds = sorted(mine.keys() & of_reference.keys())
        if method is reference or len(seeds) < 2:
            continue
        pairs = [(mine[seed].curve, of_reference[seed].curve) for seed in seeds]
        success = over_runs([a[-1].success - b[-1].success for a, b in pairs])
        areas = None
        if budget is not None and all(len(curve) > 1 for pair in pairs for curve in pair):
            areas = over_runs([area(a, budget) - area(b, budget) for a, b in pairs])
        found.append(Difference(method.name, reference.name, seeds, success, areas))
    return found


def _by_seed(method: Method) -> Mapping[int, Run]:
    return {run.seed: run for run in method.runs if run.seed is not None and run.curve}
