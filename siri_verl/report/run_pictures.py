# SPDX-License-Identifier: Apache-2.0
"""Pictures of one run over its training steps. Each function draws one figure, None where there is nothing to show.

`run_pictures` draws all of them for the page, `story_pictures` for `siri-verl story`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from siri_verl.core.internalization import KNOWN_LOG_PROB
from siri_verl.core.phases import INTERNALIZATION, MINING
from siri_verl.report.pictures import (
    DARK,
    GREY,
    PLAIN,
    RED,
    SKILL,
    STATUS,
    WINDOW,
    Album,
    Picture,
    legend_below,
    rolling,
    shade,
)
from siri_verl.report.reader import Run
from siri_verl.report.stages import draw_time
from siri_verl.report.type_pictures import busiest_types, draw_arms, draw_utility

STEP_SIZE, TYPE_SIZE, WIDE = (5.7, 3.8), (4.2, 3.1), 11.0
TITLES = {
    "success": "success by phase",
    "arms": "success of both arms, by task type",
    "utility": "utility of the skills",
    "delta": "treatment effects",
    "gate": "the gate of internalization",
    "census": "the skill bank",
    "time": "time per stage",
}
_CAPTIONS = {
    "success": "Success in each training step (dots) and its rolling mean (lines); black: validation, which uses the "
    "plain prompt alone.",
    "success, skills in validation": "Success in each training step; black: validation, which shows skills in this "
    "control run.",
    "census": "Skills by status (areas, left scale), and the share of task types with an active skill (line).",
    "delta": "Delta of every paired group, mean return of the skill arm minus that of the plain arm in units of "
    "success, over training steps and as a distribution by phase. Green helped, red harmed.",
    "gate": "Top: turns that passed the gate, and those of them with a positive weight. Middle: action tokens that "
    "passed, and lambda. Bottom: the log-probability that the skill-free policy already gives those tokens; near 0 "
    "there is nothing left to learn.",
    "time": f"Seconds of each training step by stage, rolling mean of {WINDOW}.",
}


def run_pictures(run: Run, album: Album) -> dict[str, list[Picture]]:
    """The pictures of each section of the run's part of the page; a section may have none."""

    def add(name: str, draw: Callable[[], Figure | None], title: str, caption: str = "", **look: Any) -> list[Picture]:
        return album.add(f"{run.name}_{name}", f"{run.name}: {title}", caption, draw, **look)

    def by_step(name: str, draw: Callable[[Run], Figure | None], height: float = 0.0, key: str = "") -> list[Picture]:
        size = (WIDE, height) if height else STEP_SIZE
        return add(name, partial(draw, run), TITLES[name], _CAPTIONS[key or name], size=size, wide=height > 0)

    def by_type(name: str, draw: Callable[[Run, str], Figure | None]) -> list[Picture]:
        kinds = [(kind, f"{TITLES[name]}: {kind}") for kind in busiest_types(run)[0]]
        return [
            p for kind, title in kinds for p in add(f"{name}_{kind}", partial(draw, run, kind), title, size=TYPE_SIZE)
        ]

    shown = "success, skills in validation" if run.shows_skills_in_validation else "success"
    return {
        "course": [*by_step("success", draw_success, key=shown), *by_step("census", draw_census)],
        "skills": by_type("utility", draw_utility),
        "effects": [*by_step("delta", draw_delta, 4.2), *by_type("arms", draw_arms)],
        "gate": by_step("gate", draw_gate, 6.6),
        "time": by_step("time", draw_time, 3.6),
    }


def story_pictures(run: Run, folder: Path) -> dict[str, Path]:
    """Draw what the run has to show.

    Returns:
        Title -> PNG file.
    """
    album = Album(folder)
    drawn = [p for name, draw in STORY.items() for p in album.add(name, TITLES[name], "", partial(draw, run))]
    return {picture.title: picture.file for picture in drawn}


def draw_success(run: Run) -> Figure | None:
    """Success of both arms and of validation, over phases."""
    figure, axis = _one_axis(run, "success by phase")
    for arm, color in (("plain", PLAIN), ("skill", SKILL)):
        series = run.series(f"siri/success_{arm}_arm")
        if len(series):
            axis.plot(series.steps, series.values, ".", color=color, alpha=0.35, markersize=5)
            axis.plot(series.steps, rolling(series.values), color=color, linewidth=2, label=f"{arm} arm, training")
    success = run.series("siri/val/success", "validation")
    if len(success):
        ends = [run.series(f"siri/val/success_{end}", "validation").values for end in ("low", "high")]
        error = np.abs(np.array(ends) - success.values) if all(len(e) == len(success) for e in ends) else None
        line = {"color": DARK, "marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1.2}
        axis.errorbar(success.steps, success.values, error, label="validation, 95 % interval", **line)
    axis.set(ylabel="success", ylim=(-0.03, 1.03), xlabel=f"training step (lines: rolling mean of {WINDOW})")
    legend_below(figure, axis.get_legend_handles_labels()[0], 3)
    return figure


def draw_delta(run: Run) -> Figure | None:
    """Delta of every paired group, step by step, and their distribution by phase."""
    points = Counter((e.step, round(e.delta, 3)) for _, e in run.evidence)
    if not points:
        return None
    figure, (axis, side) = plt.subplots(
        1, 2, figsize=(9.5, 4.2), sharey=True, width_ratios=(4, 1), layout="constrained"
    )
    shade(run, axis)
    steps, deltas = np.array(list(points)).T
    sizes = 14 * np.array(list(points.values()))
    colors = [STATUS["active"] if d > 0 else RED if d < 0 else GREY for d in deltas]
    axis.scatter(steps, deltas, s=sizes, c=colors, alpha=0.55, linewidths=0)
    every, codes = np.unique([e.step for _, e in run.evidence], return_inverse=True)
    means = np.bincount(codes, weights=[e.delta for _, e in run.evidence]) / np.bincount(codes)
    axis.plot(every, rolling(means), color=DARK, linewidth=1.8, label=f"mean, rolling over {WINDOW} steps")
    axis.set(xlabel="training step", ylabel="Delta of a group (success units)", ylim=(-1.08, 1.08))
    axis.set_title("treatment effects (size: number of groups)", pad=16)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1.05))
    _delta_histogram(run, side)
    for each in (axis, side):
        each.axhline(0, color=DARK, linewidth=0.6)
    side.set_xlabel("share of groups")
    return figure


def _delta_histogram(run: Run, axis: Axes) -> None:
    """The distribution of Delta, phases side by side."""
    deltas, labels, colors = [], [], []
    for phase, color in ((MINING, STATUS["candidate"]), (INTERNALIZATION, STATUS["active"])):
        span = run.span(phase)
        inside = [e.delta for _, e in run.evidence if span and span.first <= e.step <= span.last]
        if inside:
            deltas.append(inside)
            labels.append(f"{phase}, mean {np.mean(inside):+.2f}")
            colors.append(color)
    if deltas:
        shares = [np.ones(len(inside)) / len(inside) for inside in deltas]
        edges = np.linspace(-1.125, 1.125, 10)
        axis.hist(deltas, edges, weights=shares, orientation="horizontal", color=colors, label=labels)
        axis.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def draw_gate(run: Run) -> Figure | None:
    """The turns and tokens that passed the gate, and their log-prob under the plain policy."""
    names = ("rows_gated", "rows_weighted", "tokens_gated", "lambda")
    names += ("plain_log_prob_mean", "plain_log_prob_weighted_mean")
    get = {name: run.series(f"siri/internalization/{name}") for name in names}
    if not len(get["tokens_gated"]):
        return None
    figure, (turns, tokens, known) = plt.subplots(3, 1, figsize=(8.5, 7), sharex=True, layout="constrained")
    for axis in (turns, tokens, known):
        shade(run, axis, names=axis is turns)
    turns.set_title("the gate of internalization", pad=16)
    for name, label, color in (
        ("rows_gated", "passed: skill used, Delta > 0", GREY),
        ("rows_weighted", "of these with a positive advantage", STATUS["active"]),
    ):
        turns.bar(get[name].steps, get[name].values, width=0.85, color=color, label=label)
    turns.set_ylabel("turns per step")
    turns.legend(loc="lower right", bbox_to_anchor=(1, 1.06), ncols=2)
    tokens.bar(get["tokens_gated"].steps, get["tokens_gated"].values, width=0.85, color=PLAIN)
    tokens.set_ylabel("gated action tokens")
    beside = tokens.twinx()
    beside.grid(False)
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
    known.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3)
    return figure


def draw_census(run: Run) -> Figure | None:
    """The number of skills by status."""
    counts = {status: run.series(f"siri/bank/{status}") for status in ("active", "candidate", "retired")}
    if not any(series.values.any() for series in counts.values()):
        return None
    figure, axis = _one_axis(run, "the skill bank")
    heights, colors = [series.values for series in counts.values()], [STATUS[status] for status in counts]
    axis.stackplot(counts["active"].steps, *heights, labels=list(counts), colors=colors, alpha=0.85, step="mid")
    axis.set(ylabel="skills", xlabel="training step", ylim=(0, None))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    covered, types = run.series("siri/bank/active_types"), run.series("siri/bank/task_types")
    beside = axis.twinx()
    beside.grid(False)
    share = covered.values / np.maximum(types.values, 1)
    beside.plot(covered.steps, share, color=DARK, linewidth=1.5, label="share of task types covered")
    beside.set(ylabel="share of task types", ylim=(0, 1.03))
    legend_below(figure, [*axis.get_legend_handles_labels()[0], *beside.get_legend_handles_labels()[0]], 4)
    return figure


def _one_axis(run: Run, title: str) -> tuple[Figure, Axes]:
    """A figure with one axis over the run's steps."""
    figure, axis = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    shade(run, axis)
    axis.set_title(title, pad=16)
    return figure, axis


STORY: dict[str, Callable[[Run], Figure | None]] = {
    "success": draw_success,
    "arms": draw_arms,
    "utility": draw_utility,
    "delta": draw_delta,
    "gate": draw_gate,
    "census": draw_census,
}
"""File name -> function."""
