# SPDX-License-Identifier: Apache-2.0
"""The core metrics of verl's validation (verl/trainer/ppo/metric_utils.py, process_validation_metrics):
`val-core/SOURCE/VARIABLE/mean@N`, beside best@N and others of the same samples."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_CORE_MEAN = re.compile(r"val-core/(?P<source>.+)/(?P<variable>[^/]+)/mean@(?P<n>\d+)")


def core_variable(metrics: Mapping[str, float]) -> str:
    """`acc`, `reward` or another of verl's core variables that has a mean; "" where there is none."""
    names = {found["variable"] for name in metrics if (found := _CORE_MEAN.fullmatch(name))}
    return next((name for name in ("acc", "reward") if name in names), min(names, default=""))


def core_means(metrics: Mapping[str, float], variable: str) -> dict[str, float]:
    """Data source -> mean of the variable over the samples of a prompt, of the most samples if there are several."""
    found: dict[str, tuple[int, float]] = {}
    for name, value in metrics.items():
        match = _CORE_MEAN.fullmatch(name)
        if match and match["variable"] == variable and value is not None:
            found[match["source"]] = max(found.get(match["source"], (0, 0.0)), (int(match["n"]), float(value)))
    return {source: value for source, (_, value) in found.items()}


def mean_over_sources(means: Mapping[str, float]) -> float:
    """Several data sources have equal weight; NaN where there is none."""
    return math.fsum(means.values()) / len(means) if means else math.nan
