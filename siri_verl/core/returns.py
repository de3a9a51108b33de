# SPDX-License-Identifier: Apache-2.0
"""Returns of trajectories and of turns, in reward units and without penalties."""

from __future__ import annotations

import numpy as np

from siri_verl.core.rows import FloatRows
from siri_verl.core.turns import Turns


def trajectory_returns(turns: Turns) -> FloatRows:
    """R_i = sum over t of r_{i,t}, undiscounted, on every row of the trajectory: (R,)."""
    # Added in the order of turns, so that the order of rows does not change the rounding.
    order_R = turns.order_R
    totals_N = np.bincount(turns.trajectory_R[order_R], weights=turns.reward_R[order_R], minlength=1)
    return totals_N.astype(np.float64)[turns.trajectory_R]


def discounted_returns(turns: Turns, gamma: float) -> FloatRows:
    """G_{i,t} = r_{i,t} + gamma * G_{i,t+1}: (R,)."""
    return_R = np.empty(len(turns.row_R))
    following, previous = 0.0, -1
    # A plain loop: the recursion is sequential, and numpy scalars would cost more than the arithmetic.
    backwards = turns.order_R[::-1]
    codes, rewards = turns.trajectory_R[backwards].tolist(), turns.reward_R[backwards].tolist()
    for row, code, reward in zip(backwards.tolist(), codes, rewards, strict=True):
        following = reward + gamma * following if code == previous else reward
        previous = code
        return_R[row] = following
    return return_R
