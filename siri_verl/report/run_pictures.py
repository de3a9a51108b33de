# SPDX-License-Identifier: Apache-2.0
"""Pictures of one run: success of its arms, its skills' utility, treatment effects, the gate, where the time went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from siri_verl.core.phases import WARM_UP
from siri_verl.report import story_pictures
from siri_verl.report.picture_parts import rolling, shade
from siri_verl.report.pictures import PALETTE, Album, Picture, present
from siri_verl.report.runs import Run
from siri_verl.report.story import RunStory, Series
from siri_verl.report.story_type_pictures import busiest_types, draw_arms, draw_utility

TIMING = "timing_s/"
TOTAL = "timing_s/step"
OUTSIDE = "timing_s/testing"
"""Validation, which verl times beside the step (trainer_base.py, fit)."""
MOST_STAGES = 7
TYPE_SIZE = (4.2, 3.1)
STAGE_WORDS = {
    "gen": "episodes",
    "mining": "mining",
    "old_log_prob": "log-probs of the actor",
    "ref": "log-probs of the reference",
    "values": "critic values",
    "reward": "rewards",
    "adv": "advantages",
    "update_critic": "update of the critic",
    "update_actor": "update of the actor",
    "update_weights": "weights to the servers",
    "save_checkpoint": "checkpoint",
    "testing": "validation",
}


@dataclass(frozen=True)
class Stage:
    """A stage of the iterations: seconds in all, and their share."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class RunPictures:
    """Pictures by section of a run's part of the page."""

    course: list[Picture] = field(default_factory=list)
    skills: list[Picture] = field(default_factory=list)
    effects: list[Picture] = field(default_factory=list)
    gate: list[Picture] = field(default_factory=list)
    time: list[Picture] = field(default_factory=list)


def run_pictures(run: Run, album: Album) -> RunPictures:
    """Draw what a run has to show."""
    story, name = run.story, run.name

    def add(
        file: str,
        title: str,
        caption: str,
        draw: Callable[[], Figure | None],
        size: tuple[float, float] = (5.7, 3.8),
        wide: bool = False,
    ) -> Picture | None:
        return album.add(f"{name}_{file}", f"{name}: {title}", caption, draw, size=size, wide=wide)

    types = busiest_types(story)
    return RunPictures(
        course=present(
            [
                add(
                    "arms",
                    "success of both arms in training",
                    "Success in each training step (dots) and its rolling mean (lines); black: validation, which uses "
                    "the plain prompt alone."
                    if not run.shows_skills_in_validation
                    else "Success in each training step; black: validation, which shows skills in this control run.",
                    lambda: story_pictures.draw_success(story),
                ),
                add(
                    "census",
                    "the skill bank",
                    "Skills by status (areas, left scale), and the share of task types with an active skill (line).",
                    lambda: story_pictures.draw_census(story),
                ),
            ]
        ),
        skills=present(
            [
                add(
                    f"utility_{kind}",
                    f"utility of the skills for {kind}",
                    "",
                    lambda k=kind: draw_utility(story, k),
                    TYPE_SIZE,
                )
                for kind in types
            ]
        ),
        effects=present(
            [
                add(
                    "delta",
                    "treatment effects",
                    "Delta of every paired group, mean return of the skill arm minus that of the plain arm in units of "
                    "success, over training steps and as a distribution by phase. Green helped, red harmed.",
                    lambda: story_pictures.draw_delta(story),
                    (11, 4.2),
                    wide=True,
                ),
                *(
                    add(f"arms_{kind}", f"both arms for {kind}", "", lambda k=kind: draw_arms(story, k), TYPE_SIZE)
                    for kind in types
                ),
            ]
        ),
        gate=present(
            [
                add(
                    "gate",
                    "the gate of internalization",
                    "Top: turns that passed the gate, and those of them that weigh anything. Middle: action tokens "
                    "that passed, and lambda. Bottom: what log-probability the skill-free policy already gives those "
                    "tokens; near 0 there is nothing left to learn.",
                    lambda: story_pictures.draw_gate(story),
                    (11, 6.6),
                    wide=True,
                )
            ]
        ),
        time=present(
            [
                add(
                    "time",
                    "time per stage",
                    "Seconds of each training step by stage, rolling mean of 5.",
                    lambda: _draw_time(story),
                    (11, 3.6),
                    wide=True,
                )
            ]
        ),
    )


def stages(story: RunStory) -> list[Stage]:
    """Where the time of the iterations went, the longest first; what no stage accounts for as `other`."""
    names = {name for metrics in story.train.values() for name in metrics if _is_stage(name)}
    seconds = {name: float(story.series(name).values.sum()) for name in names}
    total = float(story.series(TOTAL).values.sum()) + seconds.get(OUTSIDE, 0.0)
    if not total:
        return []
    listed = sorted(seconds.items(), key=lambda pair: -pair[1])
    other = total - sum(seconds.values())
    found = [Stage(_words(name), value, value / total) for name, value in listed]
    return found + [Stage("other", other, other / total)] * (other > 0.005 * total)


def _is_stage(name: str) -> bool:
    # Deeper names are parts of a stage.
    return name.startswith(TIMING) and name != TOTAL and "/" not in name.removeprefix(TIMING)


def _words(name: str) -> str:
    stage = name.removeprefix(TIMING)
    return STAGE_WORDS.get(stage, stage.replace("_", " "))


def _aligned(series: Series, place: Mapping[int, int]) -> np.ndarray:
    """(steps,) values by step, 0 where none was logged."""
    values = np.zeros(len(place))
    for step, value in zip(series.steps.tolist(), series.values, strict=True):
        if step in place:
            values[place[step]] = value
    return values


def _draw_time(story: RunStory) -> Figure | None:
    total = story.series(TOTAL)
    if not len(total):
        return None
    names = sorted(
        {name for metrics in story.train.values() for name in metrics if _is_stage(name)},
        key=lambda name: -story.series(name).values.sum(),
    )[:MOST_STAGES]
    place = {step: i for i, step in enumerate(total.steps.tolist())}
    heights = [rolling(_aligned(story.series(name), place)) for name in names]
    whole = rolling(total.values + _aligned(story.series(OUTSIDE), place))
    rest = np.maximum(whole - np.sum(heights, axis=0), 0) if heights else whole
    figure, axis = plt.subplots()
    shade(story, axis, names=story.spans[-1:] != [] and story.spans[-1].phase != WARM_UP)
    colors = [*(PALETTE[i % len(PALETTE)] for i in range(len(names))), "#c9ccd3"]
    labels = [*map(_words, names), "other"]
    axis.stackplot(total.steps, *heights, rest, labels=labels, colors=colors, alpha=0.85)
    axis.set(ylabel="seconds", xlabel="training step", ylim=(0, None))
    axis.set_title("time per stage", pad=16)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    return figure
