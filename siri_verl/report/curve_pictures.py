# SPDX-License-Identifier: Apache-2.0
"""Learning curves of methods: success with intervals over environment steps and training steps, phases, task kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from siri_verl.core.phases import PHASES
from siri_verl.report.curve import SUCCESS, CurvePoint
from siri_verl.report.methods import Method
from siri_verl.report.pictures import GREY, SHADE, STYLE, Album, Picture, banded, literal, look_of
from siri_verl.report.reader import Run
from siri_verl.report.statistics import OVER_SEEDS, Band, shares, success_band

AXES = {"env_steps": "environment steps", "step": "training step"}
STRIP = dict(zip(PHASES, ("#cfd3da", "#f0cf7a", "#8fcb9b"), strict=True))
SIZE, SMALL = (4.9, 3.3), (3.6, 2.5)
MOST_STRIPS = 24
"""Runs whose phases are shown below the curves."""
MOST_KINDS = 12


def curve_pictures(methods: Sequence[Method], album: Album) -> list[Picture]:
    """Success over environment steps, then over training steps."""
    if not any(run.curve for method in methods for run in method.runs):
        return []
    intervals = _interval_words(methods)
    axes = _axes(methods)
    captions = {
        "env_steps": "Success on held-out tasks against the environment steps of training, both arms counted. This is "
        f"the fair axis between methods. {intervals}",
        "step": f"{'The same validations' if len(axes) > 1 else 'Validations'} against training steps. {intervals}",
    }
    return [
        picture
        for axis in axes
        for picture in album.add(
            f"success_over_{axis}", f"success over {AXES[axis]}", captions[axis], partial(_draw, methods, axis)
        )
    ]


def _axes(methods: Sequence[Method]) -> list[str]:
    """The axes over which every run with a curve can be drawn; runs of plain verl count no environment steps."""
    points = [point for method in methods for run in method.runs for point in run.curve]
    return [axis for axis in AXES if all(getattr(point, axis) is not None for point in points)]


def kind_pictures(methods: Sequence[Method], album: Album) -> list[Picture]:
    """Success over environment steps, one picture for each kind of task."""
    runs = [run for method in methods for run in method.runs]
    kinds = sorted({kind for run in runs for point in run.curve for kind in point.by_category})[:MOST_KINDS]
    if len(kinds) < 2:
        return []
    return [
        picture
        for kind in kinds
        for picture in album.add(
            f"success_{kind}", f"success in {kind}", "", partial(_draw_kind, methods, kind), size=SMALL
        )
    ]


def _interval_words(methods: Sequence[Method]) -> str:
    bands = [band for method in methods if (band := success_band(method, "step")) is not None]
    several = [band for band in bands if band.method == OVER_SEEDS]
    if not several:
        if all(np.isnan(band.low).all() for band in bands):
            return "No intervals: verl does not log the number of episodes of a validation."
        return "Band: 95 % Wilson interval of a run's own validation; it gives no information about other seeds."
    thin = "thin lines are single runs"
    if len(several) == len(bands):
        return f"Line: mean over seeds; band: 95 % t interval over seeds; {thin}."
    return f"Line: mean over seeds; band: 95 % t interval over seeds, and Wilson's where a method has one run; {thin}."


def _draw(methods: Sequence[Method], axis_name: str) -> Figure:
    runs = [run for method in methods for run in method.runs if run.spans]
    alone = len(runs) == 1
    strips = [] if alone else runs[:MOST_STRIPS]
    height = 0.09 * len(strips)
    figure, parts = plt.subplots(
        1 + bool(strips),
        1,
        figsize=(SIZE[0], SIZE[1] + height + 0.15 * bool(strips)),
        sharex=True,
        squeeze=False,
        height_ratios=[SIZE[1] - 0.9, max(height, 0.1)] if strips else [1],
    )
    axis = parts[0, 0]
    for number, method in enumerate(methods):
        _curve(axis, method, axis_name, number)
    _label(axis, methods)
    if alone:
        _shade(axis, runs[0], axis_name)
    if strips:
        _strips(parts[1, 0], strips, methods, axis_name)
    bottom = parts[-1, 0]
    bottom.set_xlabel(AXES[axis_name])
    bottom.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    handles, labels = axis.get_legend_handles_labels()
    if strips or alone:
        colors = SHADE if alone else STRIP
        seen = {span.phase for run in runs for span in run.spans}
        handles += [Patch(color=colors[phase]) for phase in PHASES if phase in seen]
        labels += [phase.replace("_", "-") for phase in PHASES if phase in seen]
    longest = max(map(len, labels))
    columns = 4 if longest < 16 else 2 if longest < 30 else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _label(axis: Axes, methods: Sequence[Method]) -> None:
    """Title, scale and the name of what is shown."""
    runs = [run for method in methods for run in method.runs if run.curve]
    measures = sorted({run.measure.rpartition("/")[2] for run in runs})
    counts = {point.episodes for run in runs for point in run.curve}
    count = f" (n = {counts.pop()} episodes)" if len(counts) == 1 and None not in counts else ""
    plain = all(run.measure == SUCCESS for run in runs) and _plain(methods)
    axis.set(title=("validation on the plain prompt" if plain else "validation") + count, ylabel=" or ".join(measures))
    if shares([point for run in runs for point in run.curve]):
        axis.set_ylim(-0.02, 1.02)


def _plain(methods: Sequence[Method]) -> bool:
    return not any(run.shows_skills_in_validation for method in methods for run in method.runs)


def _curve(axis: Axes, method: Method, axis_name: str, number: int) -> None:
    band = success_band(method, axis_name)
    if band is None:
        return
    if band.n > 1:
        for run in method.runs:
            x = [getattr(point, axis_name) for point in run.curve]
            axis.plot(x, [point.success for point in run.curve], color=look_of(number)[0], alpha=0.3, linewidth=0.8)
    count = f", {band.n} seeds" if band.n > 1 else ""
    _draw_band(axis, band, number, markersize=4, linewidth=1.9, label=literal(method.name) + count)


def _draw_band(axis: Axes, band: Band, number: int, **line: Any) -> None:
    color, marker = look_of(number)
    banded(axis, band.x, (band.mean, band.low, band.high), color, marker=marker, **line)


def _ends(run: Run, first: int, last: int, axis_name: str) -> tuple[float, float]:
    """Where a phase begins and ends on an axis."""
    if axis_name == "step":
        return first - 1, last
    total = run.series("siri/env_steps_total")
    known_steps, known = np.concatenate([[0], total.steps]), np.concatenate([[0.0], total.values])
    begin, end = np.interp([first - 1, last], known_steps, known)
    return float(begin), float(end)


def _shade(axis: Axes, run: Run, axis_name: str) -> None:
    for span in run.spans:
        axis.axvspan(*_ends(run, span.first, span.last, axis_name), color=SHADE[span.phase], linewidth=0, zorder=0)


def _strips(axis: Axes, runs: Sequence[Run], methods: Sequence[Method], axis_name: str) -> None:
    """A thin bar for each run, coloured by phase, in the order of the methods."""
    number_of = {run.name: i for i, method in enumerate(methods) for run in method.runs}
    for row, run in enumerate(runs):
        for span in run.spans:
            begin, end = _ends(run, span.first, span.last, axis_name)
            axis.barh(row, end - begin, left=begin, height=0.8, color=STRIP[span.phase], linewidth=0)
        # the method's colour at the left edge
        axis.plot([-0.012], [row], marker="s", markersize=3, color=look_of(number_of[run.name])[0], clip_on=False)
        axis.lines[-1].set_transform(axis.get_yaxis_transform())
    axis.set(ylim=(len(runs) - 0.4, -0.6), yticks=[])
    axis.set_ylabel("phases", rotation=0, ha="right", va="center", fontsize=8, labelpad=9)
    axis.grid(False)
    axis.spines[["left", "bottom"]].set_visible(False)


def _draw_kind(methods: Sequence[Method], kind: str) -> Figure:
    figure, axis = plt.subplots()
    n: set[int] = set()
    axis_name = _axes(methods)[0]
    for number, method in enumerate(methods):
        runs = [replace(run, curve=_of_kind(run, kind)) for run in method.runs]
        n |= {point.episodes for run in runs for point in run.curve if point.episodes}
        band = success_band(Method(method.name, runs, {}), axis_name)
        if band is not None:
            _draw_band(axis, band, number, markersize=3, linewidth=1.5)
    axis.set(title=literal(kind), ylim=(-0.03, 1.03))
    if len(n) == 1:
        axis.set_title(f"n = {n.pop()} episodes", loc="right", fontsize=8, color=GREY, fontweight="normal")
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if v >= 1000 else f"{v:g}"))
    return figure


def _of_kind(run: Run, kind: str) -> list[CurvePoint]:
    """The run's curve in one kind of task."""
    return [
        replace(p, success=p.by_category[kind], low=ends[0], high=ends[1], episodes=p.category_episodes.get(kind))
        for p in run.curve
        if kind in p.by_category
        for ends in [p.category_interval(kind)]
    ]


def draw_curve(runs: Sequence[Run], target: Path) -> None:
    """Write one picture of runs: success with intervals; of a single run also by category.

    Args:
        runs: with a curve each.
        target: the file; its folder is made if it is not there.

    Raises:
        ValueError: the ending of the file names no format.
    """
    methods = [Method(run.name, [run], {}) for run in runs]
    kinds = sorted({kind for point in runs[0].curve for kind in point.by_category}) if len(runs) == 1 else []
    kinds = kinds[:MOST_KINDS]
    columns = -(-len(kinds) // 2)
    axis_name = _axes(methods)[0]
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(6 + 1.9 * columns, 4.2))
        grid = figure.add_gridspec(2, 3 + columns)
        axis = figure.add_subplot(grid[:, :3])
        for number, method in enumerate(methods):
            _curve(axis, method, axis_name, number)
        _label(axis, methods)
        for i, kind in enumerate(kinds):
            small = figure.add_subplot(grid[i // columns, 3 + i % columns], sharex=axis, sharey=axis)
            points = _of_kind(runs[0], kind)
            x = np.array([getattr(p, axis_name) for p in points], float)
            mean, low, high = np.array([(p.success, p.low, p.high) for p in points], float).T
            _draw_band(small, Band(x, mean, low, high, 1, ""), 0, markersize=2.5, linewidth=1.3)
            count = f", n = {points[-1].episodes}" if points[-1].episodes else ""
            small.set_title(literal(kind) + count, fontsize=8.5)
            small.tick_params(labelleft=False, labelbottom=i // columns == 1 or i + columns >= len(kinds), labelsize=7)
        axis.set_xlabel(AXES[axis_name])
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if v >= 1000 else f"{v:g}"))
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(runs), 3))
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=130)
        plt.close(figure)
