# SPDX-License-Identifier: Apache-2.0
"""A run's story in pictures. Each function draws one on a figure of its own and returns it, None where the run has
nothing to show; `draw_all` writes them as PNG files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from siri_verl.core.internalization import KNOWN_LOG_PROB
from siri_verl.core.phases import INTERNALIZATION, MINING
from siri_verl.report.picture_parts import (
    DARK,
    GREY,
    PLAIN,
    RED,
    SKILL,
    STATUS,
    WINDOW,
    legend_below,
    one_axis,
    rolling,
    shade,
)
from siri_verl.report.story import RunStory
from siri_verl.report.story_type_pictures import draw_arms, draw_utility


def draw_all(story: RunStory, folder: Path) -> dict[str, Path]:
    """Draw what the run has to show.

    Returns:
        Title -> PNG file, in the order in which they tell the story.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, (title, draw) in PICTURES.items():
        figure = draw(story)
        if figure is not None:
            written[title] = folder / f"{name}.png"
            figure.savefig(written[title], dpi=120)
            plt.close(figure)
    return written


def draw_success(story: RunStory) -> Figure | None:
    """Success of both arms and of validation, over phases."""
    figure, axis = one_axis(story, "success by phase")
    for arm, color in (("plain", PLAIN), ("skill", SKILL)):
        series = story.series(f"siri/success_{arm}_arm")
        if len(series):
            axis.plot(series.steps, series.values, ".", color=color, alpha=0.35, markersize=5)
            axis.plot(series.steps, rolling(series.values), color=color, linewidth=2, label=f"{arm} arm, training")
    success = story.series("siri/val/success", "validation")
    if len(success):
        ends = [story.series(f"siri/val/success_{end}", "validation").values for end in ("low", "high")]
        error = np.abs(np.array(ends) - success.values) if all(len(e) == len(success) for e in ends) else None
        axis.errorbar(
            success.steps,
            success.values,
            error,
            color=DARK,
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.2,
            label="validation, 95 % interval",
        )
    axis.set(ylabel="success", ylim=(-0.03, 1.03), xlabel=f"training step (lines: rolling mean of {WINDOW})")
    legend_below(axis, 3)
    return figure


def draw_delta(story: RunStory) -> Figure | None:
    """Delta of every paired group, step by step, and their distribution by phase."""
    points = Counter((e.step, round(e.delta, 3)) for _, e in story.evidence)
    if not points:
        return None
    figure, (axis, side) = plt.subplots(
        1, 2, figsize=(9.5, 4.2), sharey=True, width_ratios=(4, 1), layout="constrained"
    )
    shade(story, axis)
    steps, deltas = np.array(list(points)).T
    sizes = 14 * np.array(list(points.values()))
    colors = [STATUS["active"] if d > 0 else RED if d < 0 else GREY for d in deltas]
    axis.scatter(steps, deltas, s=sizes, c=colors, alpha=0.55, linewidths=0)
    every, codes = np.unique([e.step for _, e in story.evidence], return_inverse=True)
    means = np.bincount(codes, weights=[e.delta for _, e in story.evidence]) / np.bincount(codes)
    axis.plot(every, rolling(means), color=DARK, linewidth=1.8, label=f"mean, rolling over {WINDOW} steps")
    axis.axhline(0, color=DARK, linewidth=0.6)
    axis.set(xlabel="training step", ylabel="Delta of a group (success units)", ylim=(-1.08, 1.08))
    axis.set_title("treatment effects (size: number of groups)", loc="left", fontsize=11, pad=16)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1.05), fontsize=8, frameon=False)
    _delta_histogram(story, side)
    side.axhline(0, color=DARK, linewidth=0.6)
    side.set_xlabel("share of groups")
    return figure


def _delta_histogram(story: RunStory, axis: Axes) -> None:
    """The distribution of Delta, phases side by side."""
    deltas, labels, colors = [], [], []
    for phase, color in ((MINING, STATUS["candidate"]), (INTERNALIZATION, STATUS["active"])):
        span = story.span(phase)
        inside = [e.delta for _, e in story.evidence if span and span.first <= e.step <= span.last]
        if inside:
            deltas.append(inside)
            labels.append(f"{phase}, mean {np.mean(inside):+.2f}")
            colors.append(color)
    if deltas:
        shares = [np.ones(len(inside)) / len(inside) for inside in deltas]
        edges = np.linspace(-1.125, 1.125, 10)
        axis.hist(deltas, edges, weights=shares, orientation="horizontal", color=colors, label=labels)
        axis.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axis.spines[["top", "right"]].set_visible(False)


def draw_gate(story: RunStory) -> Figure | None:
    """What the gate let through, and how well the plain policy knew it already."""
    get = {name: story.series(f"siri/internalization/{name}") for name in _GATE_METRICS}
    if not len(get["tokens_gated"]):
        return None
    figure, (turns, tokens, known) = plt.subplots(3, 1, figsize=(8.5, 7), sharex=True, layout="constrained")
    for axis in (turns, tokens, known):
        shade(story, axis, names=axis is turns)
    turns.set_title("the gate of internalization", loc="left", fontsize=11, pad=16)
    for name, label, color in (
        ("rows_gated", "let through: skill used, Delta > 0", GREY),
        ("rows_weighted", "of these with a positive advantage", STATUS["active"]),
    ):
        turns.bar(get[name].steps, get[name].values, width=0.85, color=color, label=label)
    turns.set_ylabel("turns per step")
    turns.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1.06), ncols=2)
    tokens.bar(get["tokens_gated"].steps, get["tokens_gated"].values, width=0.85, color=PLAIN)
    tokens.set_ylabel("gated action tokens")
    beside = tokens.twinx()
    beside.plot(get["lambda"].steps, get["lambda"].values, color=SKILL, linewidth=1.6)
    beside.set_ylabel("lambda", color=SKILL)
    beside.set_ylim(0, 1.15 * max(float(get["lambda"].values.max(initial=0.0)), 1e-9))
    for name, label, color in (
        ("plain_log_prob_mean", "all gated tokens", GREY),
        ("plain_log_prob_weighted_mean", "those of positive weight", STATUS["active"]),
    ):
        if len(get[name]):
            known.plot(get[name].steps, get[name].values, ".-", color=color, label=label)
    known.axhline(KNOWN_LOG_PROB, color=RED, linewidth=0.8, linestyle="--", label="above: nothing left to learn")
    known.set(ylabel="mean log-prob\non the plain prompt", xlabel="training step")
    known.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3)
    return figure


_GATE_METRICS = (
    *("rows_gated", "rows_weighted", "tokens_gated", "lambda"),
    *("plain_log_prob_mean", "plain_log_prob_weighted_mean"),
)


def draw_census(story: RunStory) -> Figure | None:
    """How many skills there were, by status."""
    counts = {status: story.series(f"siri/bank/{status}") for status in ("active", "candidate", "retired")}
    if not any(series.values.any() for series in counts.values()):
        return None
    figure, axis = one_axis(story, "the skill bank")
    axis.stackplot(
        counts["active"].steps,
        *(series.values for series in counts.values()),
        labels=list(counts),
        colors=[STATUS[status] for status in counts],
        alpha=0.85,
        step="mid",
    )
    axis.set(ylabel="skills", xlabel="training step", ylim=(0, None))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    covered, types = story.series("siri/bank/active_types"), story.series("siri/bank/task_types")
    beside = axis.twinx()
    share = covered.values / np.maximum(types.values, 1)
    beside.plot(covered.steps, share, color=DARK, linewidth=1.5, label="share of task types covered")
    beside.set(ylabel="share of task types", ylim=(0, 1.03))
    handles = [*axis.get_legend_handles_labels()[0], *beside.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


PICTURES: dict[str, tuple[str, Callable[[RunStory], Figure | None]]] = {
    "success": ("success by phase", draw_success),
    "arms": ("what skills changed, by task type", draw_arms),
    "utility": ("utility of the skills", draw_utility),
    "delta": ("treatment effects", draw_delta),
    "gate": ("the gate of internalization", draw_gate),
    "census": ("the skill bank", draw_census),
}
"""File name -> (title, what draws it)."""
