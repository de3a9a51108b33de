# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run by task type: the utility of each skill, and the success of both arms.

Each draws all task types as small multiples with one legend, or, with `only`, a single one without.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from siri_verl.core.decisions import Decision
from siri_verl.core.rules import ACTIVE, INTERNALIZED, RETIRED
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
    literal,
    rolling_interval,
    shade,
)
from siri_verl.report.reader import Run
from siri_verl.report.skills import UtilityPath, utility_paths

_LABEL_HEIGHT = 0.075
"""Of a skill's name, as a share of a small picture's height."""
MOST_TYPES = 12
"""Task types drawn: those with the most evidence; the title states when some are left out."""


def busiest_types(run: Run) -> tuple[list[str], str]:
    """(the task types that are drawn, by name; for the title, how many of all where some are left out)."""
    counts = Counter(skill.task_type for skill, _ in run.evidence)
    types = sorted(name for name, _ in counts.most_common(MOST_TYPES))
    return types, f" ({len(types)} of {len(counts)} task types)" if len(counts) > len(types) else ""


def draw_utility(run: Run, only: str | None = None) -> Figure | None:
    """The utility of every tested skill after each of its groups, with its decisions."""
    paths, settings = utility_paths(run.bank), run.bank.book.settings
    threshold = settings.promote_above if settings.decision == "ema" else None
    values = [value for path in paths.values() for value in path.utility]
    low, high = min(values, default=0.0), max([*values, threshold or 0.0])
    room = 0.08 * max(high - low, 0.1)

    def draw(axis: Axes, task_type: str) -> None:
        colors = iter(plt.get_cmap("tab10").colors)  # type: ignore[attr-defined]
        ends: list[tuple[str, float, float, object]] = []
        axis.set_ylim(low - room, high + room)
        for skill_id, path in paths.items():
            skill = run.bank[skill_id]
            if skill.task_type == task_type:
                color = next(colors, DARK) if skill.was_active else GREY
                _draw_path(axis, path, color, skill.was_active)
                if skill.was_active:
                    ends.append((skill_id, path.steps[-1], path.utility[-1], color))
        axis.axhline(0, color=DARK, linewidth=0.6)
        if threshold is not None:
            axis.axhline(threshold, color=STATUS["active"], linewidth=0.8, linestyle="--")
        _name_ends(axis, ends)

    handles = [
        Line2D([], [], color=STATUS["active"], marker="^", linestyle="", label="promoted"),
        Line2D([], [], color=RED, marker="x", linestyle="", label="retired"),
        *_internalized_handle(run),
        Line2D([], [], color=GREY, label="never promoted"),
    ]
    if threshold is not None:
        label = f"promotion above {threshold:g}"
        handles.append(Line2D([], [], color=STATUS["active"], linestyle="--", label=label))
    return _by_type(run, draw, "utility of the skills", handles, only)


def draw_arms(run: Run, only: str | None = None) -> Figure | None:
    """Success of both arms in the paired groups, and validation success."""
    types = busiest_types(run)[0]

    def draw(axis: Axes, task_type: str) -> None:
        groups = [e for skill, e in run.evidence if skill.task_type == task_type]
        steps = np.array([e.step for e in groups])
        last = np.flatnonzero(np.diff(steps, append=run.last + 1))  # one point per step
        for means, color in (([e.plain_mean for e in groups], PLAIN), ([e.skill_mean for e in groups], SKILL)):
            windows = [np.array(means[max(0, i - 2 * WINDOW + 1) : i + 1]) for i in last]
            banded(axis, steps[last], rolling_interval(windows, (0.0, 1.0)), color, linewidth=1.8)
        _draw_validation(axis, run, task_type)
        for decision in (d for skill in run.promoted if skill.task_type == task_type for d in skill.decisions):
            axis.axvline(decision.step, color=_decision_color(decision), linewidth=1, linestyle=":")
        axis.set_ylim(-0.03, 1.03)

    handles = [
        Line2D([], [], color=PLAIN, label="plain arm, 95 % interval"),
        Line2D([], [], color=SKILL, label="skill arm (any skill), 95 % interval"),
    ]
    if any(len(run.validation_of(task_type)) for task_type in types):
        handles.append(Line2D([], [], color=DARK, marker="o", markersize=3, label="validation"))
    afters = {d.after for skill in run.promoted if skill.task_type in types for d in skill.decisions}
    if afters:
        handles.append(Line2D([], [], color=STATUS["active"], linestyle=":", label="promotion"))
    if RETIRED in afters:
        handles.append(Line2D([], [], color=RED, linestyle=":", label="retirement"))
    if INTERNALIZED in afters:
        handles.append(Line2D([], [], color=STATUS[INTERNALIZED], linestyle=":", label=INTERNALIZED))
    return _by_type(run, draw, f"success in the paired groups, mean of the last {2 * WINDOW}", handles, only)


def _draw_validation(axis: Axes, run: Run, task_type: str) -> None:
    """Validation success of the task type with Wilson's interval, where the run logs the number of episodes."""
    points = [point for point in run.curve if task_type in point.by_category]
    y = np.array([point.by_category[task_type] for point in points])
    ends = np.array([point.category_interval(task_type) for point in points]).reshape(-1, 2)
    look = {"color": DARK, "marker": "o", "markersize": 3, "linewidth": 0.9, "capsize": 1.5, "elinewidth": 0.7}
    error = None if np.isnan(ends).any() else np.abs(ends.T - y)
    axis.errorbar([point.step for point in points], y, error, **look)


def _by_type(
    run: Run, draw: Callable[[Axes, str], None], title: str, handles: Sequence[Line2D], only: str | None
) -> Figure | None:
    """Small multiples on common axes, one for each task type."""
    types, left_out = busiest_types(run) if only is None else ([only], "")
    if not types:
        return None
    columns = min(3, len(types))
    rows = math.ceil(len(types) / columns)
    size = (max(3.4 * columns, 5.5), 2.3 * rows + 0.9)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    flat = list(axes.flat)
    for axis in flat[len(types) :]:
        axis.set_visible(False)
    for task_type, axis in zip(types, flat, strict=False):
        shade(run, axis, names=False)
        axis.set_title(literal(task_type), fontsize=9)
        groups = sum(skill.task_type == task_type for skill, _ in run.evidence)
        axis.set_title(f"n = {groups} groups", loc="right", fontsize=7.5, color=GREY, fontweight="normal")
        draw(axis, task_type)
    for axis in flat[max(len(types) - columns, 0) : len(types)]:
        axis.set_xlabel("training step", fontsize=9)
        axis.tick_params(labelbottom=True)
    if only is None:
        figure.suptitle(title + left_out, fontsize=11, x=0.01, ha="left")
        legend_below(figure, handles, 5)
    return figure


def _draw_path(axis: Axes, path: UtilityPath, color: object, promoted: bool) -> None:
    axis.plot(path.steps, path.utility, color=color, linewidth=1.8 if promoted else 0.9, zorder=2 + promoted)
    for decision, utility in path.decisions:
        marker, size = ("^", 55) if decision.after == ACTIVE else ("x", 30)
        axis.scatter(decision.step, utility, s=size, marker=marker, color=_decision_color(decision), zorder=5)


def _name_ends(axis: Axes, ends: Sequence[tuple[str, float, float, object]]) -> None:
    """Write names of promoted skills right of the axis, each with a thin line from the end of its curve. Names at the
    same height are moved apart."""
    low, high = axis.get_ylim()
    ordered = sorted(ends, key=lambda end: (end[2], end[1]))
    heights = _apart([(y - low) / (high - low) for _, _, y, _ in ordered], _LABEL_HEIGHT)
    for (name, x, y, color), height in zip(ordered, heights, strict=True):
        arrow = {"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6, "linestyle": ":", "shrinkA": 0}
        axis.annotate(
            name,
            (x, y),
            (1.02, height),
            textcoords="axes fraction",
            fontsize=7,
            color=color,  # type: ignore[arg-type]
            va="center",
            annotation_clip=False,
            arrowprops=arrow,
        )


def _apart(heights: Sequence[float], room: float) -> list[float]:
    """Increasing heights in [0, 1], moved so that neighbours are at least `room` apart, as far as they fit."""
    placed = list(heights)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + room)
    excess = max(placed[-1] - 1.0, 0.0) if placed else 0.0
    if excess:
        placed[-1] = 1.0
        for i in range(len(placed) - 2, -1, -1):
            placed[i] = min(placed[i], placed[i + 1] - room)
    return placed


def _internalized_handle(run: Run) -> list[Line2D]:
    if not run.bank_counts[INTERNALIZED]:
        return []
    return [Line2D([], [], color=STATUS[INTERNALIZED], marker="x", linestyle="", label=INTERNALIZED)]


def _decision_color(decision: Decision) -> str:
    return RED if decision.after == RETIRED else STATUS[decision.after]
