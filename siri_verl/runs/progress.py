# SPDX-License-Identifier: Apache-2.0
"""One line per training step, from the metrics of that step. A metric that a run does not log is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from siri_verl.core.phases import PHASES
from siri_verl.runs.verl_validation import core_means, core_variable, mean_over_sources
from siri_verl.screen import duration

SUCCESS, PHASE = "siri/val/success", "siri/phase"
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class LastValidation:
    """The newest validation: its step and what it measured, in words."""

    step: int
    text: str


def validation_text(metrics: Metrics) -> str | None:
    """Success with its 95 % interval, or verl's own core metric; None where the step was not validated."""
    if metrics.get(SUCCESS) is not None:
        low, high = metrics.get(f"{SUCCESS}_low"), metrics.get(f"{SUCCESS}_high")
        interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        return f"{metrics[SUCCESS]:.3f}{interval}"
    means = core_means(metrics, core_variable(metrics))
    return f"{mean_over_sources(means):.3f}" if means else None


def success_text(metrics: Metrics) -> str | None:
    """Success of both arms, or of all trajectories where there is one arm; verl's score where success is unknown."""
    plain, skill = (metrics.get(f"siri/success_{arm}_arm") for arm in ("plain", "skill"))
    if plain is not None and skill is not None:
        return f"success {plain:.2f} plain, {skill:.2f} with skill"
    for name, words in (("siri/success", "success"), ("critic/score/mean", "score")):
        if metrics.get(name) is not None:
            return f"{words} {float(metrics[name]):.2f}"
    return None


def phase_of(metrics: Metrics) -> str | None:
    """The phase in words."""
    return None if metrics.get(PHASE) is None else PHASES[int(metrics[PHASE])].replace("_", "-")


def step_line(
    step: int, total: int | None, metrics: Metrics, validation: LastValidation | None, left: float | None
) -> str:
    """The line of a training step.

    Args:
        step: number of the step.
        total: steps of the run; None: unknown.
        metrics: of the step.
        validation: the newest one, of this step or an earlier one.
        left: seconds until the run ends; None: unknown.
    """
    parts = [f"step {step:>{len(str(total))}}/{total}" if total else f"step {step}", phase_of(metrics)]
    parts.append(success_text(metrics))
    if validation is not None:
        parts.append(f"validation {validation.text} at step {validation.step}")
    active, candidates = metrics.get("siri/bank/active"), metrics.get("siri/bank/candidate")
    if active is not None and candidates is not None:
        parts.append(f"skills {active:.0f} active, {candidates:.0f} candidates")
    if left is not None:
        parts.append(f"{duration(left)} left")
    return " | ".join(part for part in parts if part)
