# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run by task type: what became of each skill, and what skills changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from siri_verl.core.decisions import Decision
from siri_verl.core.rules import ACTIVE
from siri_verl.report.picture_parts import DARK, GREY, PLAIN, RED, SKILL, STATUS, WINDOW, rolling, type_axes
from siri_verl.report.story import RunStory, UtilityPath, utility_paths

MOST_TYPES = 12
"""Task types drawn: those with the most evidence; the title says when some are left out."""


def draw_utility(story: RunStory, only: str | None = None) -> Figure | None:
    """Every tested skill's utility, by task type or for one alone, with its decisions."""
    paths, types, left_out = utility_paths(story.bank), *_busiest(story, only)
    if not types:
        return None
    figure, axes = type_axes(story, types, f"utility of the skills{left_out}" if only is None else "")
    settings = story.bank.book.settings
    ema = settings.decision == "ema"
    for task_type, axis in zip(types, axes, strict=True):
        colors = iter(plt.get_cmap("tab10").colors)  # type: ignore[attr-defined]
        ends: list[tuple[str, float, float, object]] = []
        for skill_id, path in paths.items():
            if story.bank[skill_id].task_type == task_type:
                promoted = any(decision.after == ACTIVE for decision, _ in path.decisions)
                color = next(colors, DARK) if promoted else GREY
                _draw_path(axis, path, color, promoted)
                if promoted:
                    ends.append((skill_id, path.steps[-1], path.utility[-1], color))
        axis.axhline(0, color=DARK, linewidth=0.6)
        if ema:
            axis.axhline(settings.promote_above, color=STATUS["active"], linewidth=0.8, linestyle="--")
        if only is not None:  # one of several pictures that are read together
            axis.set_ylim(_utility_range(paths.values(), settings.promote_above if ema else 0.0))
        _name_ends(axis, ends)
    if only is not None:
        return figure
    handles = [
        Line2D([], [], color=STATUS["active"], marker="^", linestyle="", label="promoted"),
        Line2D([], [], color=RED, marker="x", linestyle="", label="retired"),
        Line2D([], [], color=GREY, label="never promoted"),
    ]
    if ema:
        label = f"promotion above {settings.promote_above:g}"
        handles.append(Line2D([], [], color=STATUS["active"], linestyle="--", label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def busiest_types(story: RunStory) -> list[str]:
    """The task types that are drawn, by name."""
    return _busiest(story)[0]


def _draw_path(axis: Axes, path: UtilityPath, color: object, promoted: bool) -> None:
    axis.plot(path.steps, path.utility, color=color, linewidth=1.8 if promoted else 0.9, zorder=2 + promoted)
    for decision, utility in path.decisions:
        up = decision.after == ACTIVE
        marker, size = ("^", 55) if up else ("x", 30)
        axis.scatter(decision.step, utility, s=size, marker=marker, color=_decision_color(decision), zorder=5)


def _name_ends(axis: Axes, ends: Sequence[tuple[str, float, float, object]]) -> None:
    """Names of promoted skills where their lines end; names at one height are moved apart."""
    last = -np.inf
    low, high = axis.get_ylim()
    for name, x, y, color in sorted(ends, key=lambda end: end[2]):
        place = max(y, last + 0.07 * (high - low))
        shift = (place - y) / (high - low) * 120  # points: about the height of a small picture
        axis.annotate(name, (x, y), (3, shift), textcoords="offset points", fontsize=7, color=color, va="center")
        last = place


def _utility_range(paths: Iterable[UtilityPath], threshold: float) -> tuple[float, float]:
    """Common limits of a run's utility pictures."""
    values = [value for path in paths for value in path.utility]
    low, high = min(values, default=0.0), max(max(values, default=0.0), threshold)
    room = 0.08 * max(high - low, 0.1)
    return low - room, high + room


def draw_arms(story: RunStory, only: str | None = None) -> Figure | None:
    """What skills changed: success of both arms in the paired groups of each task type, or of one alone, and its
    validation."""
    types, left_out = _busiest(story, only)
    if not types:
        return None
    title = f"success in the paired groups, mean of the last {2 * WINDOW}{left_out}"
    figure, axes = type_axes(story, types, title if only is None else "")
    for task_type, axis in zip(types, axes, strict=True):
        groups = [e for skill, e in story.evidence if skill.task_type == task_type]
        for arm, color in (("plain", PLAIN), ("skill", SKILL)):
            values = rolling(np.array([getattr(e, f"{arm}_mean") for e in groups]), 2 * WINDOW)
            last = dict(zip([e.step for e in groups], values, strict=True))  # one point a step
            axis.plot(list(last), list(last.values()), color=color, linewidth=1.8)
        validation = story.validation_of(task_type)
        axis.plot(validation.steps, validation.values, color=DARK, marker="o", markersize=3, linewidth=0.9)
        for skill in story.promoted:
            for decision in skill.decisions if skill.task_type == task_type else []:
                axis.axvline(decision.step, color=_decision_color(decision), linewidth=1, linestyle=":")
        axis.set_ylim(-0.03, 1.03)
    if only is not None:
        return figure
    handles = [
        Line2D([], [], color=PLAIN, label="plain arm"),
        Line2D([], [], color=SKILL, label="skill arm, whichever was shown"),
    ]
    if any(len(story.validation_of(task_type)) for task_type in types):
        handles.append(Line2D([], [], color=DARK, marker="o", markersize=3, label="validation"))
    afters = {d.after for skill in story.promoted if skill.task_type in types for d in skill.decisions}
    if afters:
        handles.append(Line2D([], [], color=STATUS["active"], linestyle=":", label="promotion"))
    if len(afters) > 1:
        handles.append(Line2D([], [], color=RED, linestyle=":", label="retirement"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _decision_color(decision: Decision) -> str:
    return STATUS["active"] if decision.after == ACTIVE else RED


def _busiest(story: RunStory, only: str | None = None) -> tuple[list[str], str]:
    """(the task types with the most evidence, by name; words for the title where some are left out)."""
    counts = Counter(skill.task_type for skill, _ in story.evidence if only in (None, skill.task_type))
    types = sorted(name for name, _ in counts.most_common(MOST_TYPES))
    return types, f" ({len(types)} of {len(counts)} task types)" if len(counts) > len(types) else ""
