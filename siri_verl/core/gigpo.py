# SPDX-License-Identifier: Apache-2.0
"""GiGPO advantages over a table of turns (arXiv 2505.10978), pure numpy.

One row is one turn of one trajectory. A row's advantage is the sum of two group-relative terms:

    episode  A^E: the trajectory's return against the other trajectories of the same task (Eq. 3)
    step     A^S: the discounted return from this turn on against the other visits of the same anchor state (Eq. 6-7)
    total    A   = A^E + step_weight * A^S (Eq. 8)

Where the paper is silent:

- The penalty of an ill-formed action is subtracted after discounting, from the score and the step return of that row
  alone.
- A step group of one row has A^S = 0. An episode group whose statistics have one sample has nothing to be compared
  with: the setting `lone` chooses its A^E.
- A group whose samples are equal (to 1e-9 of their size) gives exactly 0 under both norms. Statistics are float64 and
  taken on values shifted by the group's minimum, so rounding of the mean cannot be blown up by the small divisor of
  `mean_std`. Under `per_trajectory` a penalised row of such a group keeps its deviation in reward units (divisor 1).
- `per_trajectory` statistics use R_i without penalties: they do not depend on which row of a trajectory comes first.
- A trajectory that visits one anchor several times has several rows in that step group.

Suffixes name the axes of arrays: R rows, N trajectories, G groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from siri_verl.core.anchors import step_groups
from siri_verl.core.returns import discounted_returns, trajectory_returns
from siri_verl.core.rows import FloatRows, IntRows
from siri_verl.core.turns import Turns
from siri_verl.failures import check_field, check_one_of

STD_EPSILON = 1e-6
CONSTANT_TOLERANCE = 1e-9
"""Samples of a group that differ by less than this share of their size count as equal."""


@dataclass
class GigpoSettings:
    """`algorithm.gigpo`: the advantage estimator's settings (arXiv 2505.10978)."""

    gamma: float = 0.95
    """Discount of the step return."""
    step_weight: float = 1.0
    """omega: weight of the step advantage. 0 leaves per-turn GRPO."""
    norm: str = "mean"
    """`mean`: x - mean; `mean_std`: (x - mean) / (std + 1e-6)."""
    episode_stats: str = "per_step"
    """`per_step`: statistics over all rows of a group; `per_trajectory`: over its trajectories (the paper's Eq. 3)."""
    invalid_penalty: float = 0.1
    """Subtracted from a malformed reply's row alone."""
    similarity: float | None = None
    """None groups anchors that are equal; a ratio in (0, 1] groups anchors that are at least that similar."""
    arms: str = "joint"
    """Statistics over a group's two arms together (`joint`) or for each arm separately (`separate`). Internalized turns
    are weighted over both arms in either case."""
    lone: str = "score"
    """Episode advantage of a group whose statistics have one sample: its raw `score`, or `zero`."""

    def __post_init__(self) -> None:
        name, similarity = "algorithm.gigpo", self.similarity
        check_field(self, f"{name}.gamma", 0 <= self.gamma <= 1, "use a value in [0, 1]")
        check_field(self, f"{name}.step_weight", 0 <= self.step_weight < math.inf, "use a finite value >= 0")
        check_one_of(f"{name}.norm", self.norm, ("mean", "mean_std"))
        check_one_of(f"{name}.episode_stats", self.episode_stats, ("per_step", "per_trajectory"))
        check_one_of(f"{name}.arms", self.arms, ("joint", "separate"))
        check_one_of(f"{name}.lone", self.lone, ("score", "zero"))
        check_field(self, f"{name}.invalid_penalty", 0 <= self.invalid_penalty < math.inf, "use a finite value >= 0")
        in_range = similarity is None or 0 < similarity <= 1
        check_field(self, f"{name}.similarity", in_range, "use null or a ratio in (0, 1]")


@dataclass(frozen=True)
class GigpoAdvantages:
    """Advantages and what they were computed from: arrays (rows,), in the order of the batch; padding rows hold 0.

    Attributes:
        episode: A^E.
        step: A^S, before `step_weight`.
        total: A^E + step_weight * A^S.
        trajectory_return: R_i of the row's trajectory, undiscounted, without penalties.
        step_return: G_{i,t}, discounted, without the row's penalty.
        step_group: int code of the row's step group; -1 for padding.
        step_group_size: number of rows in it; 0 for padding.
    """

    episode: FloatRows
    step: FloatRows
    total: FloatRows
    trajectory_return: FloatRows
    step_return: FloatRows
    step_group: IntRows
    step_group_size: IntRows


def gigpo(turns: Turns, settings: GigpoSettings) -> GigpoAdvantages:
    """Advantages of every turn of a batch.

    `settings.arms` is not read here: with `separate` the caller groups the turns by (task, arm)
    (`siri_verl.core.pairing.advantage_groups`).

    Raises:
        ValueError: `similarity` is set and an anchor is not text.
    """
    penalty_R = np.where(turns.valid_R, 0.0, settings.invalid_penalty)

    # Eq. 3: the trajectory's return, relative to its group.
    group_R, return_R = turns.group_R, trajectory_returns(turns)
    score_R = return_R - penalty_R
    if settings.episode_stats == "per_step":
        sample, sample_group = score_R, group_R
    else:
        sample, sample_group = return_R[turns.first_N], group_R[turns.first_N]
    episode_R, samples_G = _group_relative(score_R, group_R, sample, sample_group, settings.norm)
    single_R = score_R if settings.lone == "score" else np.zeros_like(score_R)
    episode_R = np.where(samples_G[group_R] == 1, single_R, episode_R)

    # Eq. 6-7: the discounted return from this turn on, relative to the turns from the same anchor state.
    step_return_R = discounted_returns(turns, settings.gamma)
    step_group_R = step_groups(turns, settings.similarity)
    step_score_R = step_return_R - penalty_R
    step_R, size = _group_relative(step_score_R, step_group_R, step_score_R, step_group_R, settings.norm)

    # Eq. 8
    total_R = episode_R + settings.step_weight * step_R

    return GigpoAdvantages(
        episode=turns.on_batch(episode_R),
        step=turns.on_batch(step_R),
        total=turns.on_batch(total_R),
        trajectory_return=turns.on_batch(return_R),
        step_return=turns.on_batch(step_return_R),
        step_group=turns.on_batch(step_group_R, padding=-1),
        step_group_size=turns.on_batch(size[step_group_R]),
    )


def _group_relative(
    value_R: FloatRows, group_R: IntRows, sample: FloatRows, sample_group: IntRows, norm: str
) -> tuple[FloatRows, IntRows]:
    """`value_R` normalised by the statistics of the samples of its group: (R,), and the number of samples: (G,)."""
    groups = int(group_R.max()) + 1 if len(group_R) else 0
    count_G = np.bincount(sample_group, minlength=groups)
    low_G, high_G = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(low_G, sample_group, sample)
    np.maximum.at(high_G, sample_group, sample)
    tolerance_G = CONSTANT_TOLERANCE * np.maximum(np.abs(low_G), np.abs(high_G))
    constant_G = high_G - low_G <= tolerance_G

    shifted = sample - low_G[sample_group]
    mean_G = np.bincount(sample_group, weights=shifted, minlength=groups) / np.maximum(count_G, 1)
    deviation_R = (value_R - low_G[group_R]) - mean_G[group_R]
    deviation_R[constant_G[group_R] & (np.abs(deviation_R) <= tolerance_G[group_R])] = 0.0
    if norm == "mean_std":
        square_G = np.bincount(sample_group, weights=(shifted - mean_G[sample_group]) ** 2, minlength=groups)
        std_G = np.sqrt(square_G / np.maximum(count_G - 1, 1))
        deviation_R /= np.where(constant_G, 1.0, std_G + STD_EPSILON)[group_R]
    return deviation_R, count_G
