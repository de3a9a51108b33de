# SPDX-License-Identifier: Apache-2.0
"""Differences of methods, with the interval that the runs allow.

- At least two seeds in common: differences per seed, Student's t over seeds.
- Several seeds, fewer than two in common: Welch's t over runs.
- One run each: Newcombe's interval of the difference of two shares (Newcombe 1998, method 10) over the episodes of the
  last validations. It measures the uncertainty about these two policies, not the spread over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from siri_verl.report.curve import CurvePoint
from siri_verl.report.methods import Method
from siri_verl.report.reader import Run
from siri_verl.report.statistics import LEVEL, Estimate, area, over_runs

PAIRED, WELCH, EPISODES, UNKNOWN = "t over common seeds", "Welch's t over runs", "Newcombe over episodes", ""


@dataclass(frozen=True)
class Difference:
    """One method minus another.

    Attributes:
        first, second: names of the methods.
        seeds: that both have, where the difference is paired by seed; else empty.
        success: at the last validation.
        area: under the curve over the common environment steps; None where it cannot be compared with an interval.
    """

    first: str
    second: str
    seeds: list[int]
    success: Estimate
    area: Estimate | None


def method_differences(methods: Sequence[Method], budget: tuple[float, float] | None) -> list[Difference]:
    """Every other method with a curve minus the reference: the method named `gigpo`, else the first."""
    with_curve = [method for method in methods if any(run.curve for run in method.runs)]
    if len(with_curve) < 2:
        return []
    reference = next((method for method in with_curve if method.name == "gigpo"), with_curve[0])
    return [_difference(method, reference, budget) for method in with_curve if method is not reference]


def _difference(first: Method, second: Method, budget: tuple[float, float] | None) -> Difference:
    mine, other = _by_seed(first), _by_seed(second)
    seeds = sorted(mine.keys() & other.keys())
    if len(seeds) >= 2:
        pairs = [(mine[seed].curve, other[seed].curve) for seed in seeds]
        areas = None
        if budget is not None and all(len(curve) > 1 for pair in pairs for curve in pair):
            areas = _over_seeds([area(a, budget) - area(b, budget) for a, b in pairs])
        return Difference(
            first.name, second.name, seeds, _over_seeds([a[-1].success - b[-1].success for a, b in pairs]), areas
        )
    curves = [[run.curve for run in method.runs if run.curve] for method in (first, second)]
    last = [[curve[-1] for curve in of_method] for of_method in curves]
    if all(len(points) == 1 for points in last):
        return Difference(first.name, second.name, [], difference_of_points(last[0][0], last[1][0]), None)
    areas = None
    if budget is not None and all(len(curve) > 1 for of_method in curves for curve in of_method):
        areas = welch(*([area(curve, budget) for curve in of_method] for of_method in curves))
    success = welch(*([point.success for point in points] for points in last))
    return Difference(first.name, second.name, [], success, areas)


def difference_of_points(first: CurvePoint, second: CurvePoint) -> Estimate:
    """One validation minus another, with Newcombe's interval; without one where the episodes are unknown."""
    difference = first.success - second.success
    if math.isnan(first.low) or math.isnan(second.low):
        return Estimate(difference, None, None, 1, UNKNOWN)
    below = math.hypot(first.success - first.low, second.high - second.success)
    above = math.hypot(first.high - first.success, second.success - second.low)
    return Estimate(difference, difference - below, difference + above, 1, EPISODES)


def welch(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """The difference of two means with Welch's t interval; without one where either has a single value."""
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    difference, n = float(a.mean() - b.mean()), min(len(a), len(b))
    if n < 2:
        return Estimate(difference, None, None, n, UNKNOWN)
    parts = np.array([values.var(ddof=1) / len(values) for values in (a, b)])
    error = float(parts.sum())
    if error == 0:
        return Estimate(difference, difference, difference, n, WELCH)
    freedom = 1 / float(sum((part / error) ** 2 / (len(v) - 1) for part, v in zip(parts, (a, b), strict=True)))
    half = float(student_t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(error)
    return Estimate(difference, difference - half, difference + half, n, WELCH)


def _over_seeds(values: Sequence[float]) -> Estimate:
    found = over_runs(values)
    return Estimate(found.mean, found.low, found.high, found.n, PAIRED)


def _by_seed(method: Method) -> Mapping[int, Run]:
    return {run.seed: run for run in method.runs if run.seed is not None and run.curve}
