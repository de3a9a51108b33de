# SPDX-License-Identifier: Apache-2.0
"""Pictures of the treatment effects and of the gate of internalization."""

from __future__ import annotations

from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from siri_verl.core.phases import INTERNALIZATION, MINING
from siri_verl.report.pictures import (
    DARK,
    GREY,
    PLAIN,
    RED,
    SKILL,
    STATUS,
    WINDOW,
    banded,
    legend_below,
    rolling_interval,
    shade,
)
from siri_verl.report.reader import Run

LIGHT = "#b9cde6"
_LEVELS = 9
"""Bins of the histogram of Delta, centred on -1, -0.75, ..., 1."""


def draw_delta(run: Run) -> Figure | None:
    """Delta of every paired group, step by step, and their distribution by phase."""
    points = Counter((e.step, round(e.delta, 3)) for _, e in run.evidence)
    if not points:
        return None
    figure, (axis, side) = plt.subplots(
        1, 2, figsize=(9.5, 4.6), sharey=True, width_ratios=(4, 1), layout="constrained"
    )
    shade(run, axis)
    steps, deltas = np.array(list(points)).T
    sizes = 14 * np.array(list(points.values()))
    colors = [STATUS["active"] if d > 0 else RED if d < 0 else GREY for d in deltas]
    axis.scatter(steps, deltas, s=sizes, c=colors, alpha=0.55, linewidths=0)
    every = np.array([e.step for _, e in run.evidence])
    values = np.array([e.delta for _, e in run.evidence])
    shown = np.unique(every)
    windows = [values[(every <= step) & (every > step - WINDOW)] for step in shown]
    label = f"mean of the groups of the last {WINDOW} steps, 95 % interval"
    banded(axis, shown, rolling_interval(windows, (-1.0, 1.0)), DARK, label=label)
    axis.set(xlabel="training step", ylabel="Delta of a group (success units)", ylim=(-1.12, 1.12))
    axis.set_title(f"treatment effects (n = {len(values)} groups; area of a dot: number of groups)", pad=16)
    histogram = _delta_histogram(run, side)
    for each in (axis, side):
        each.axhline(0, color=DARK, linewidth=0.6)
    side.set_xlabel("share of groups")
    legend_below(figure, [*axis.get_legend_handles_labels()[0], *histogram], 3)
    return figure


def _delta_histogram(run: Run, axis: Axes) -> list:
    """The distribution of Delta, phases side by side; returns the handles of the legend."""
    deltas, labels, colors = [], [], []
    for phase, color in ((MINING, STATUS["candidate"]), (INTERNALIZATION, STATUS["active"])):
        span = run.span(phase)
        inside = [e.delta for _, e in run.evidence if span and span.first <= e.step <= span.last]
        if inside:
            deltas.append(inside)
            labels.append(f"{phase}: n = {len(inside)}, mean {np.mean(inside):+.2f}")
            colors.append(color)
    if not deltas:
        return []
    shares = [np.ones(len(inside)) / len(inside) for inside in deltas]
    edges = np.linspace(-1.125, 1.125, _LEVELS + 1)
    axis.hist(deltas, edges, weights=shares, orientation="horizontal", color=colors, label=labels)
    return axis.get_legend_handles_labels()[0]


def draw_gate(run: Run) -> Figure | None:
    """The turns and tokens that passed the gate, and the log-probs of the tokens that the skill decides."""
    names = ("rows_gated", "rows_weighted", "tokens_gated", "lambda", "deciding_tokens")
    get = {name: run.series(f"siri/internalization/{name}") for name in names}
    if not len(get["tokens_gated"]):
        return None
    figure, (turns, tokens, known) = plt.subplots(3, 1, figsize=(8.5, 7), sharex=True, layout="constrained")
    for axis in (turns, tokens, known):
        shade(run, axis, names=axis is turns)
    turns.set_title("the gate of internalization", pad=16)
    for name, label, color in (
        ("rows_gated", "turns that passed: skill used, Delta > 0", GREY),
        ("rows_weighted", "of these with a positive advantage", STATUS["active"]),
    ):
        turns.bar(get[name].steps, get[name].values, width=0.85, color=color, label=label)
    turns.set_ylabel("turns per step")
    gated, deciding = get["tokens_gated"], get["deciding_tokens"]
    tokens.bar(gated.steps, gated.values, width=0.85, color=LIGHT, label="action tokens that passed")
    if len(deciding):
        label = "of these deciding: twice as probable on the skill prompt"
        tokens.bar(deciding.steps, deciding.values, width=0.85, color=PLAIN, label=label)
    tokens.set_ylabel("tokens per step")
    beside = tokens.twinx()
    beside.grid(False)
    beside.plot(get["lambda"].steps, get["lambda"].values, color=RED, linewidth=1.6, label="lambda")
    beside.set_ylabel("lambda", color=RED)
    beside.set_ylim(0, 1.15 * max(float(get["lambda"].values.max(initial=0.0)), 1e-9))
    _log_probs(run, known, bool(len(deciding)))
    handles = [handle for axis in (turns, tokens, beside, known) for handle in axis.get_legend_handles_labels()[0]]
    legend_below(figure, handles, 2)
    return figure


def _log_probs(run: Run, axis: Axes, deciding: bool) -> None:
    """Mean log-probs per step, with the mean of the last steps and its interval."""
    lines = [("plain_log_prob_mean", "all learned tokens, plain prompt", GREY)]
    if deciding:
        lines = [
            ("deciding_plain_log_prob_mean", "deciding tokens, plain prompt", PLAIN),
            ("deciding_skill_log_prob_mean", "deciding tokens, skill prompt", SKILL),
        ]
    for name, label, color in lines:
        series = run.series(f"siri/internalization/{name}")
        axis.plot(series.steps, series.values, ".", color=color, alpha=0.4, markersize=4)
        windows = [series.values[max(0, i - WINDOW + 1) : i + 1] for i in range(len(series))]
        mean, low, high = rolling_interval(windows)
        banded(axis, series.steps, (mean, low, np.minimum(high, 0)), color, label=f"{label} (mean of {WINDOW} steps)")
    axis.set(ylabel="mean log-prob", xlabel="training step")
    # A t interval over two steps can be very wide; the axis follows the values.
    values = np.concatenate([run.series(f"siri/internalization/{name}").values for name, _, _ in lines])
    axis.set_ylim(1.15 * float(values.min(initial=-0.01)), 0)
