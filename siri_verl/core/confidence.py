# SPDX-License-Identifier: Apache-2.0
"""Anytime-valid evidence about a mean: it may be checked after every observation.

Observations lie in [-1, 1] (treatment effects in success units). The e-value of the null "no observation's mean, given
the past, exceeds m" is the capital of a bettor who bets on larger ones (Waudby-Smith and Ramdas, arXiv 2010.09686):

    e_m(x_1..x_n) = average over stakes c of prod_i (1 + c * (x_i - m) / (1 + m))

Under the null it is a supermartingale started at 1, so at any stopping time its mean is at most 1 and the chance that
it ever reaches 1/alpha is at most alpha (Ville). A fixed grid of stakes replaces the unknown best one; it costs at
most log(number of stakes) of log-wealth and makes the e-value depend on the observations, not on their order. The
confidence sequence contains every m that neither side's e-value has rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

STAKES = np.array([0.1, 0.3, 0.5, 0.7, 0.85, 0.97])
"""Shares of the largest allowed stake. 1 is excluded: a single -1 would set the capital to 0."""
BISECTIONS = 40


def log_e_value(observations: Sequence[float], above: float) -> float:
    """log of the e-value against "the mean is at most `above`". 0 without observations.

    Args:
        observations: (n,) numbers in [-1, 1].
        above: the null's bound m, in (-1, 1).

    Raises:
        ValueError: an observation or `above` is out of range.
    """
    if not -1.0 < above < 1.0:
        raise ValueError(f"e-value: bound {above}, must lie in (-1, 1)")
    return _log_wealth(_check(observations), above)


def log_e_value_below(observations: Sequence[float], below: float) -> float:
    """log of the e-value against "the mean is at least `below`"; else as `log_e_value`."""
    return log_e_value([-x for x in observations], -below)


def confidence_sequence(observations: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """An interval for the mean that covers it at all times at once with probability at least `level`.

    Assumes a constant mean; where it drifts, the interval is about the average of the means.

    Args:
        observations: (n,) numbers in [-1, 1]; without any, the interval is (-1, 1).
        level: coverage, in (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"confidence sequence: level={level}, must lie in (0, 1)")
    values = _check(observations)
    if not len(values):
        return -1.0, 1.0
    threshold = math.log(2.0 / (1.0 - level))
    return _bound(values, threshold), -_bound(-values, threshold)


def _bound(values: np.ndarray, threshold: float) -> float:
    """The largest m that is rejected from below: the capital falls as m grows, so bisection finds it."""
    low, high = -1.0, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if _log_wealth(values, middle) >= threshold:
            low = middle
        else:
            high = middle
    return low


def _log_wealth(values: np.ndarray, above: float) -> float:
    if not len(values):
        return 0.0
    ratio = (values - above) / (1.0 + above)
    logs = np.log1p(STAKES[:, None] * ratio[None, :]).sum(axis=1)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def _check(observations: Sequence[float]) -> np.ndarray:
    values = np.asarray(observations, dtype=np.float64)
    bad = np.flatnonzero(~(np.abs(values) <= 1.0 + 1e-9))
    if len(bad):
        raise ValueError(
            f"evidence: observation {bad[0]} is {values[bad[0]]}, must lie in [-1, 1]; treatment effects are "
            "measured in success units (return / success reward)"
        )
    return np.clip(values, -1.0, 1.0)
