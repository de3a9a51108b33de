# SPDX-License-Identifier: Apache-2.0
"""The time of a run's training steps by stage, as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from siri_verl.core.phases import WARM_UP
from siri_verl.report.pictures import DARK, PALETTE, WINDOW, rolling, shade
from siri_verl.report.reader import Run, Series

TIMING = "timing_s/"
TOTAL = "timing_s/step"
VALIDATION = "timing_s/testing"
"""Verl times validation apart from the step (trainer_base.py, fit)."""
MOST_STAGES = 7
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
    """A stage of the training steps: seconds of all steps together, and their share of the total."""

    name: str
    seconds: float
    share: float


def stages(run: Run) -> list[Stage]:
    """The stages, the longest first; time that belongs to no stage as `other`."""
    seconds = _seconds(run)
    total = float(run.series(TOTAL).values.sum()) + seconds.get(VALIDATION, 0.0)
    if not total:
        return []
    other = total - sum(seconds.values())
    found = [Stage(_words(name), value, value / total) for name, value in seconds.items()]
    return found + [Stage("other", other, other / total)] * (other > 0.005 * total)


def draw_time(run: Run) -> Figure | None:
    """Seconds of each training step by stage; None where the run logged no times."""
    total = run.series(TOTAL)
    if not len(total):
        return None
    names = [name for name in _seconds(run) if name != VALIDATION][:MOST_STAGES]
    place = {step: i for i, step in enumerate(total.steps.tolist())}
    heights = [rolling(_aligned(run.series(name), place)) for name in names]
    whole = rolling(total.values)
    rest = np.maximum(whole - np.sum(heights, axis=0), 0) if heights else whole
    figure, axis = plt.subplots(layout="constrained")
    shade(run, axis, names=any(span.phase != WARM_UP for span in run.spans))
    colors = [*(PALETTE[i % len(PALETTE)] for i in range(len(names))), "#c9ccd3"]
    labels = [*map(_words, names), "other"]
    axis.stackplot(total.steps, *heights, rest, labels=labels, colors=colors, alpha=0.85)
    validation = run.series(VALIDATION)
    if len(validation):
        seconds = _aligned(validation, place)
        axis.bar(total.steps, seconds, 0.7, bottom=whole, color=DARK, label="validation after the step")
    axis.set(ylabel="seconds", xlabel="training step", ylim=(0, None))
    axis.set_title(f"time per stage, mean of {WINDOW} steps", pad=16)
    figure.legend(handles=axis.get_legend_handles_labels()[0], loc="outside right center")
    return figure


def _seconds(run: Run) -> dict[str, float]:
    """Metric -> seconds in all, the longest first; deeper names are parts of a stage."""
    names = [n for n in run.train_metrics(TIMING) if n != TOTAL and "/" not in n.removeprefix(TIMING)]
    seconds = {name: float(run.series(name).values.sum()) for name in sorted(names)}
    return dict(sorted(seconds.items(), key=lambda pair: -pair[1]))


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
