# SPDX-License-Identifier: Apache-2.0
"""The comparison as a picture: validation curves, and each run's success on the held-out tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.siri_vs_gigpo.differences import has_curve, interval, present
from benchmarks.siri_vs_gigpo.results import Results
from benchmarks.siri_vs_gigpo.settings import METHODS, Method


def draw(
    found: Results,
    environment: str,
    target: Path,
    only: Sequence[str] = (),
    every: Mapping[str, Method] = METHODS,
) -> None:
    """Write the picture of an environment's finished runs: of all methods, or of those in `only`, in its order.

    Left, validation success over environment steps: each run thin, each method's mean over its seeds thick, with its
    95 % interval (t) as a band where methods were chosen; the bands of all would hide each other. Right, success on the
    held-out tasks at the end: a point per run, beside them the mean with its 95 % interval (t).
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    methods = list(only) or present(found, environment, every)
    figure, (left, right) = plt.subplots(
        1,
        2,
        figsize=(13, 5.2) if not only else (9, 4.2),
        layout="constrained",
        sharey=True,
        gridspec_kw={"width_ratios": (3, max(1, len(methods) / 4))},
    )
    for place, method in enumerate(methods):
        if has_curve(method, every):
            _curves(left, found, environment, method, f"C{place}", banded=bool(only))
        _points(right, found, environment, method, place, f"C{place}")
    left.set(xlabel="environment steps", ylabel="success", ylim=(0, 1))
    left.set_title("validation, plain prompt: each run, mean" + (" (95 %, t)" if only else " over seeds"))
    left.legend(title="mean over seeds (how many)", fontsize="small", loc="upper left")
    right.set_title(
        "held-out tasks at the end:\neach run, mean (95 %, t)"
        if only
        else "held-out tasks at the end: each run, mean (95 %, t)"
    )
    right.set_xticks(
        range(len(methods)), methods, **({} if only else {"rotation": 35, "ha": "right", "fontsize": "small"})
    )
    right.set_xlim(-0.6, len(methods) - 0.4)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    if not only:
        figure.suptitle(environment)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _curves(axis: Any, found: Results, environment: str, method: str, color: str, *, banded: bool) -> None:
    curves = [found.curves[name]["points"] for name in sorted(found.rows) if name[:2] == (environment, method)]
    runs = [np.array([(p["env_steps"], p["success"]) for p in points], dtype=float) for points in curves]
    at = np.linspace(max(run[0, 0] for run in runs), min(run[-1, 0] for run in runs), 60)
    values = np.array([np.interp(at, run[:, 0], run[:, 1]) for run in runs])  # (runs, points)
    mean = values.mean(axis=0)
    if banded and len(runs) > 1:
        low, high = np.clip([interval(list(column)).t for column in values.T], 0, 1).T
        axis.fill_between(at, low, high, color=color, alpha=0.13, linewidth=0)
    axis.plot(at, mean, color=color, linewidth=2.2, label=f"{method} ({len(runs)})")
    for run in runs:
        axis.plot(run[:, 0], run[:, 1], color=color, linewidth=0.6, alpha=0.4)


def _points(axis: Any, found: Results, environment: str, method: str, place: int, color: str) -> None:
    values = [row["success"] for name, row in sorted(found.rows.items()) if name[:2] == (environment, method)]
    axis.scatter(np.full(len(values), place - 0.12), values, color=color, s=22, alpha=0.7)
    over_seeds = interval(values)
    error = None
    if over_seeds.t:
        # an interval over two or three seeds may pass 0 or 1, which success cannot
        low, high = np.clip(over_seeds.t, 0, 1)
        error = [[over_seeds.mean - low], [high - over_seeds.mean]]
    axis.errorbar(place + 0.12, over_seeds.mean, yerr=error, color=color, fmt="D", markersize=6, capsize=4)
