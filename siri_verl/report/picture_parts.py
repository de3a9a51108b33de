# SPDX-License-Identifier: Apache-2.0
"""What the pictures of a run share: colours, phases as ground, small multiples, rolling means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from siri_verl.core.phases import INTERNALIZATION, MINING, WARM_UP
from siri_verl.report.story import RunStory

PLAIN, SKILL, DARK, GREY, RED = "#3b6fb6", "#e07b39", "#222222", "#9a9a9a", "#c0392b"
STATUS = {"candidate": "#e3b341", "active": "#3f9b57", "retired": "#b9b9b9"}
SHADE = {WARM_UP: "#f3f3f3", MINING: "#fdf3dc", INTERNALIZATION: "#e4f2e6"}
WINDOW = 5
"""Steps (or groups) of a rolling mean."""


def one_axis(story: RunStory, title: str) -> tuple[Figure, Axes]:
    """A figure with one axis over the run's steps."""
    figure, axis = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    shade(story, axis)
    axis.set_title(title, loc="left", fontsize=11, pad=16)
    return figure, axis


def type_axes(story: RunStory, types: Sequence[str], title: str) -> tuple[Figure, list[Axes]]:
    """Small multiples on common axes, one for each task type."""
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
        shade(story, axis, names=False)
        axis.set_title(literal(task_type), fontsize=9)
    for axis in flat[max(len(types) - columns, 0) : len(types)]:
        axis.set_xlabel("training step", fontsize=9)
        axis.tick_params(labelbottom=True)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure, flat[: len(types)]


def shade(story: RunStory, axis: Axes, names: bool = True) -> None:
    """Phases as coloured ground, named above the axis where there is room for the name."""
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    for span in story.spans:
        axis.axvspan(span.first - 0.5, span.last + 0.5, color=SHADE[span.phase], linewidth=0, zorder=0)
        # A letter takes about a hundredth of a small picture's width.
        if names and span.steps >= 0.012 * len(span.phase) * (story.last - story.first + 1):
            place: dict[str, Any] = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            axis.text((span.first + span.last) / 2, 1.01, span.phase.replace("_", "-"), fontsize=8, color=GREY, **place)
    axis.set_xlim(story.first - 0.5, story.last + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def rolling(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Mean of each value and up to `window - 1` before it."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    return (total[end] - total[start]) / (end - start)


def literal(text: str) -> str:
    """A name of the data as matplotlib must not read it: no mathematics between dollar signs."""
    return text.replace("$", r"\$")


def legend_below(axis: Axes, columns: int) -> None:
    """The axis's legend under the figure."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        axis.figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
