# SPDX-License-Identifier: Apache-2.0
"""The validations of a run as a curve: success with Wilson's interval, or verl's own accuracy or reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from siri_verl.core.statistics import wilson
from siri_verl.report.records import read_records
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.verl_validation import core_means, core_variable, mean_over_sources

SUCCESS = "siri/val/success"
_EPISODES = "siri/val/episodes"


@dataclass(frozen=True)
class CurvePoint:
    """One validation.

    Attributes:
        step: training step.
        success: share of episodes in [0, 1]; of a run without `siri/val/success`, verl's accuracy or reward.
        low, high: ends of Wilson's 95 % interval; NaN where the number of episodes is unknown.
        episodes: None where it is unknown.
        env_steps: environment steps of training so far; None where the run does not count them.
        by_category: kind of task (of verl's metrics: data source) -> the same number.
        category_episodes: kind of task -> episodes; empty where they are unknown.
    """

    step: int
    success: float
    low: float
    high: float
    episodes: int | None
    env_steps: int | None
    by_category: Mapping[str, float]
    category_episodes: Mapping[str, int] = field(default_factory=dict)

    def category_interval(self, category: str) -> tuple[float, float]:
        """Wilson's interval of a category; NaN where its number of episodes is unknown."""
        episodes = self.category_episodes.get(category)
        if not episodes or category not in self.by_category:
            return math.nan, math.nan
        return wilson(round(self.by_category[category] * episodes), episodes)


def read_curve(run: Path) -> list[CurvePoint]:
    """The validations of a run, by step.

    Args:
        run: its folder, or a file of verl's file logger.

    Raises:
        FileNotFoundError: there is no metrics file.
        ValueError: the file holds no validation, or one without a number that a curve can show.
    """
    records = read_records(run)
    points = curve_points(run, records)
    if not points:
        raise ValueError(
            f"{run if run.is_file() else RunFolder(run).metrics}: holds no validation; run with trainer.test_freq > 0 "
            "or trainer.val_before_train=True"
        )
    return points


def measure_of(metrics: Mapping[str, float]) -> str:
    """What a curve shows of a validation: `siri/val/success`, else `acc`, `reward` or another of verl's core variables;
    "" where there is none."""
    if SUCCESS in metrics:
        return SUCCESS
    return core_variable(metrics)


def curve_points(run: Path, records: Sequence[Mapping[str, Any]]) -> list[CurvePoint]:
    """The validations among the records of a run.

    Raises:
        ValueError: one has no number that a curve can show.
    """
    counts = _inferred_counts([r["metrics"] for r in records if r["kind"] == "validation"])
    counted = any("siri/env_steps_total" in record["metrics"] for record in records)
    env_steps, points = 0, []
    for record in records:
        metrics = record["metrics"]
        if record["kind"] == "train":
            env_steps = int(metrics.get("siri/env_steps_total", env_steps))
            continue
        measure = measure_of(metrics)
        if not measure:
            raise ValueError(
                f"{run}, validation of step {record['step']}: has neither {SUCCESS} nor "
                "val-core/SOURCE/VARIABLE/mean@N; the agent loop states no success in reward_extra_info "
                "(siri_verl/rollout/agent_loop.py does)"
            )
        here = env_steps if counted or measure == SUCCESS else None
        make = _siri_point if measure == SUCCESS else _verl_point
        points.append(make(record["step"], metrics, measure, here, counts))
    return points


def _siri_point(
    step: int, metrics: Mapping[str, float], measure: str, env_steps: int | None, counts: Mapping[str, int]
) -> CurvePoint:
    shares = {
        name.removeprefix(f"{SUCCESS}/"): value for name, value in metrics.items() if name.startswith(f"{SUCCESS}/")
    }
    logged = {name: metrics.get(f"{_EPISODES}/{name}") for name in shares}
    return CurvePoint(
        step=step,
        success=metrics[measure],
        low=metrics[f"{SUCCESS}_low"],
        high=metrics[f"{SUCCESS}_high"],
        episodes=int(metrics[_EPISODES]),
        env_steps=env_steps,
        by_category=shares,
        category_episodes={n: int(k) for n, k in logged.items() if k is not None} or counts,
    )


def _verl_point(
    step: int, metrics: Mapping[str, float], measure: str, env_steps: int | None, counts: Mapping[str, int]
) -> CurvePoint:
    """verl logs no number of episodes, so there is no interval."""
    sources = core_means(metrics, measure)
    mean = mean_over_sources(sources)
    by_source = sources if len(sources) > 1 else {}
    return CurvePoint(step, mean, math.nan, math.nan, None, env_steps, by_source)


def _inferred_counts(validations: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """Category -> episodes, for runs that do not log them.

    A category's shares are fractions k/n with one n in all validations. Their least common denominators are the counts
    if they add up to the episodes of the validations; otherwise the counts stay unknown.
    """
    totals = {int(m[_EPISODES]) for m in validations if _EPISODES in m}
    if len(totals) != 1:
        return {}
    (total,) = totals
    counts: dict[str, int] = {}
    for metrics in validations:
        for name, share in metrics.items():
            if name.startswith(f"{SUCCESS}/"):
                known = name.removeprefix(f"{SUCCESS}/")
                counts[known] = math.lcm(
                    counts.get(known, 1), Fraction(share).limit_denominator(max(total, 1)).denominator
                )
    return counts if sum(counts.values()) == total else {}
