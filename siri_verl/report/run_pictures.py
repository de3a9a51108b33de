# SPDX-License-Identifier: Apache-2.0
"""Pictures of one run over its training steps. Each function draws one figure, None where there is nothing to show.

`run_pictures` draws all of them for the page, `story_pictures` for `siri-verl story`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from siri_verl.report.effect_pictures import draw_delta, draw_gate
from siri_verl.report.pictures import (
    DARK,
    PLAIN,
    SKILL,
    STATUS,
    WINDOW,
    Album,
    Picture,
    banded,
    legend_below,
    rolling_interval,
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
    "success": "Success of the episodes of each training step (dots) and the mean of the last "
    f"{WINDOW} steps with its 95 % t interval over these steps (bands); error bars: validation on the plain prompt "
    "with Wilson's 95 % interval.",
    "success, skills in validation": "Success of the episodes of each training step (dots), mean of the last "
    f"{WINDOW} steps with its 95 % t interval (bands); error bars: validation, which shows skills in this control run.",
    "census": "Skills by status (areas, left scale), and the share of task types with an active skill (line).",
    "delta": "Delta of every paired group, mean return of the skill arm minus that of the plain arm in units of "
    "success, over training steps and as a distribution by phase. Green: the skill helped; red: it harmed. Band: 95 % "
    "t interval over the groups of the last steps.",
    "gate": "Top: turns that passed the gate, and those of them with a positive weight. Middle: action tokens that "
    "passed, those of them that the skill decides, and lambda. A deciding token is at least twice as probable on the "
    "skill prompt as on the plain prompt. Bottom: mean log-probability of the deciding tokens on both prompts. "
    "Internalization raises the blue line towards the orange one.",
    "gate, all tokens": "Top: turns that passed the gate, and those of them with a positive weight. Middle: action "
    "tokens that passed, and lambda. Bottom: mean log-probability of all learned tokens on the plain prompt. Most of "
    "them are probable without the skill, so this mean does not show whether the few tokens that the skill decides "
    "are learned; the run did not log those.",
    "time": f"Seconds of each training step by stage, mean of the last {WINDOW} steps; bars: the validation after a "
    "step.",
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

    deciding = len(run.series("siri/internalization/deciding_tokens"))
    shown = "success, skills in validation" if run.shows_skills_in_validation else "success"
    return {
        "course": [*by_step("success", draw_success, key=shown), *by_step("census", draw_census)],
        "skills": by_type("utility", draw_utility),
        "effects": [*by_step("delta", draw_delta, 4.6), *by_type("arms", draw_arms)],
        "gate": by_step("gate", draw_gate, 7.2, key="gate" if deciding else "gate, all tokens"),
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
            windows = [series.values[max(0, i - WINDOW + 1) : i + 1] for i in range(len(series))]
            band = rolling_interval(windows, (0.0, 1.0))
            banded(axis, series.steps, band, color, label=f"{arm} arm, training: mean of {WINDOW} steps")
    success = run.series("siri/val/success", "validation")
    if len(success):
        ends = [run.series(f"siri/val/success_{end}", "validation").values for end in ("low", "high")]
        error = np.abs(np.array(ends) - success.values) if all(len(e) == len(success) for e in ends) else None
        line = {"color": DARK, "marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1.2}
        axis.errorbar(success.steps, success.values, error, label=f"validation{_episodes(run)}", **line)
    axis.set(ylabel="success", ylim=(-0.03, 1.03), xlabel="training step")
    legend_below(figure, axis.get_legend_handles_labels()[0], 2)
    return figure


def _episodes(run: Run) -> str:
    counts = {point.episodes for point in run.curve}
    return f", n = {counts.pop()} episodes" if len(counts) == 1 and None not in counts else ""


def draw_census(run: Run) -> Figure | None:
    """The number of skills by status."""
    counts = {status: run.series(f"siri/bank/{status}") for status in ("active", "candidate", "retired")}
    internalized = run.series("siri/bank/internalized")
    if not any(series.values.any() for series in counts.values()):
        return None
    figure, axis = _one_axis(run, "the skill bank")
    steps, heights = counts["active"].steps, {status: series.values for status, series in counts.items()}
    if len(internalized):
        # A step writes this count once there are some.
        by_step = dict(zip(internalized.steps.tolist(), internalized.values.tolist(), strict=True))
        heights["internalized"] = np.array([by_step.get(step, 0.0) for step in steps.tolist()])
    colors = [STATUS[status] for status in heights]
    axis.stackplot(steps, *heights.values(), labels=list(heights), colors=colors, alpha=0.85, step="mid")
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
