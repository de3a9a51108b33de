# SPDX-License-Identifier: Apache-2.0
"""Returns of trajectories and of turns."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from siri_verl.core.rows import FloatRows, IntRows, as_list, check_lengths, factorize, numbers


def trajectory_returns(trajectory: Sequence[Hashable], step: Sequence[int], reward: Sequence[float]) -> FloatRows:
    """R_i = sum over t of r_{i,t}, undiscounted, repeated on every row of the trajectory: (rows,), in reward units.

    Here `trajectory` alone identifies a trajectory: pass (group, trajectory) pairs when ids repeat in other groups.

    Raises:
        ValueError: a reward or step is not finite, or a (trajectory, step) occurs twice.
    """
    return sum_turns(*_read_turns(trajectory, step, reward))


def discounted_returns(
    trajectory: Sequence[Hashable], step: Sequence[int], reward: Sequence[float], gamma: float = 0.95
) -> FloatRows:
    """G_{i,t} = r_{i,t} + gamma * G_{i,t+1}: (rows,), in reward units; else as `trajectory_returns`."""
    return discount(*_read_turns(trajectory, step, reward), gamma)


def turn_order(codes: IntRows, steps: FloatRows, trajectory: Sequence[Any], rows: IntRows) -> IntRows:
    """The rows ordered by (trajectory, step), which must name one turn. `trajectory` and `rows` name them in errors."""
    order = np.lexsort((steps, codes))
    twice = np.flatnonzero((np.diff(codes[order]) == 0) & (np.diff(steps[order]) == 0))
    if len(twice):
        a, b = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        raise ValueError(
            f"gigpo: rows {rows[a]} and {rows[b]} are both step {steps[a]:g} of trajectory {trajectory[a]!r}; "
            "a (group, trajectory, step) names one turn"
        )
    return order


def sum_turns(codes: IntRows, rewards: FloatRows, order: IntRows) -> FloatRows:
    """Sum of rewards by trajectory, on every row; added in `order`, so that row order does not change rounding."""
    totals = np.bincount(codes[order], weights=rewards[order], minlength=1).astype(np.float64)
    return totals[codes]


def discount(codes: IntRows, rewards: FloatRows, order: IntRows, gamma: float) -> FloatRows:
    """Discounted returns of rows whose (trajectory, step) order is given."""
    out = np.empty(len(codes))
    following, owner = 0.0, -1
    # A plain loop: the recursion is sequential, and numpy scalars would cost more than the arithmetic.
    backwards = order[::-1]
    for i, code, r in zip(backwards.tolist(), codes[backwards].tolist(), rewards[backwards].tolist(), strict=True):
        following = r + gamma * following if code == owner else r
        owner = code
        out[i] = following
    return out


def _read_turns(trajectory: Any, step: Any, reward: Any) -> tuple[IntRows, FloatRows, IntRows]:
    columns = {"trajectory": trajectory, "step": step, "reward": reward}
    lists = {name: as_list(f"gigpo: {name}", column) for name, column in columns.items()}
    rows = np.arange(check_lengths("gigpo", lists))
    codes, _ = factorize("gigpo: trajectory", lists["trajectory"])
    steps, rewards = numbers("gigpo: step", lists["step"]), numbers("gigpo: reward", lists["reward"])
    return codes, rewards, turn_order(codes, steps, lists["trajectory"], rows)
