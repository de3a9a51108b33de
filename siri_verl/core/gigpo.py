# SPDX-License-Identifier: Apache-2.0
"""GiGPO advantages over a table of turns (arXiv 2505.10978), pure numpy.

One row is one turn of one trajectory. A row's advantage is the sum of two group-relative terms:

    episode  A^E: the trajectory's return against the other trajectories of the same task (Eq. 3)
    step     A^S: the discounted return from this turn on against the other visits of the same anchor state (Eq. 6-7)
    total    A   = A^E + step_weight * A^S (Eq. 8)

Settled here, where the paper is silent:

- The penalty of an ill-formed action is subtracted after discounting, from the score and the step return of that row
  alone.
- A step group of one row has A^S = 0. An episode group with one sample has nothing to be compared with: `lone` says
  what it gets.
- A group whose samples are equal (to 1e-9 of their size) gives exactly 0 under both norms. Statistics are float64 and
  taken on values shifted by the group's minimum, so rounding of the mean cannot be blown up by the small divisor of
  `mean_std`. Under `per_trajectory` a penalised row of such a group keeps its deviation in reward units (divisor 1).
- `per_trajectory` statistics use R_i without penalties: they do not depend on which row of a trajectory comes first.
- A trajectory that visits one anchor several times has several rows in that step group.
- Only the order of steps counts: they may start anywhere and have gaps.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from siri_verl.core.anchors import similar_anchors
from siri_verl.core.returns import discount, discounted_returns, sum_turns, trajectory_returns, turn_order
from siri_verl.core.rows import FloatRows, IntRows, as_list, check_lengths, check_present, factorize, flags, numbers

__all__ = ["GigpoAdvantages", "check_group_size", "discounted_returns", "gigpo_advantages", "trajectory_returns"]

Norm = Literal["mean", "mean_std"]
EpisodeStats = Literal["per_step", "per_trajectory"]
Lone = Literal["score", "zero", "error"]

STD_EPSILON = 1e-6
CONSTANT_TOLERANCE = 1e-9
"""Samples of a group that differ by less than this share of their size count as equal."""

NO_ANCHOR = "the agent loop must state the anchor of every turn, or choose another algorithm.adv_estimator"


@dataclass(frozen=True)
class GigpoAdvantages:
    """Advantages and what they were computed from: arrays (rows,), in the order of the input rows; padding rows hold 0.

    Attributes:
        episode: A^E.
        step: A^S, before `step_weight`.
        total: A^E + step_weight * A^S.
        trajectory_return: R_i of the row's trajectory, undiscounted, without penalties.
        step_return: G_{i,t}, discounted, without the row's penalty.
        step_group: int code of the row's step group; -1 for padding.
        step_group_size: number of rows in it; 0 for padding.
        lone_groups: groups that hold one trajectory only, in order of appearance.
    """

    episode: FloatRows
    step: FloatRows
    total: FloatRows
    trajectory_return: FloatRows
    step_return: FloatRows
    step_group: IntRows
    step_group_size: IntRows
    lone_groups: tuple[Hashable, ...]


def gigpo_advantages(
    group: Sequence[Hashable],
    trajectory: Sequence[Hashable],
    step: Sequence[int],
    anchor: Sequence[Hashable],
    reward: Sequence[float],
    valid: Sequence[bool],
    *,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    norm: Norm = "mean",
    episode_stats: EpisodeStats = "per_step",
    invalid_penalty: float = 0.1,
    similarity: float | None = None,
    lone: Lone = "score",
    padding: Sequence[bool] | None = None,
) -> GigpoAdvantages:
    """Advantages of every turn of a batch. All sequences or arrays have length rows.

    Args:
        group: the task (prompt group) of the row; any hashable.
        trajectory: the trajectory inside its group; any hashable. Ids may repeat in other groups.
        step: turn index; a trajectory's rows are ordered by it.
        anchor: the state before acting, without history or instructions; any hashable.
        reward: reward of that turn, in training units.
        valid: whether the action was well-formed (not a padding mask).
        gamma: discount of the step return, in [0, 1].
        step_weight: omega of Eq. 8; 0 gives GRPO per turn.
        norm: `mean` subtracts the mean, `mean_std` also divides by the unbiased standard deviation + 1e-6.
        episode_stats: `per_step` takes mean and std over all rows of the group (long trajectories weigh more),
            `per_trajectory` over its trajectories (Eq. 3).
        invalid_penalty: subtracted from rows that are not valid, in reward units.
        similarity: None groups equal anchors; a number in (0, 1] groups text anchors: each joins the first
            representative whose difflib ratio is at least this (`similar_anchors`).
        lone: A^E of a group whose statistics have one sample: its raw `score`, `zero`, or an `error` for any group with
            one trajectory.
        padding: rows that are True enter no statistic and get 0; their other fields are not read.

    Raises:
        ValueError: lengths differ, an option is out of range, a reward is not finite, an anchor is missing, a (group,
            trajectory, step) occurs twice, or `lone="error"` and a group has one trajectory. The message names the row.
    """
    _check_options(gamma, step_weight, norm, episode_stats, invalid_penalty, similarity, lone)
    columns = {
        "group": group,
        "trajectory": trajectory,
        "step": step,
        "anchor": anchor,
        "reward": reward,
        "valid": valid,
    }
    lists = {name: as_list(f"gigpo: {name}", c, f"; {NO_ANCHOR}" * (name == "anchor")) for name, c in columns.items()}
    lists["padding"] = [False] * len(lists["group"]) if padding is None else as_list("gigpo: padding", padding)
    rows = check_lengths("gigpo", lists)

    kept = np.flatnonzero(~flags("gigpo: padding", lists["padding"]))
    turns = {name: [column[i] for i in kept.tolist()] for name, column in lists.items()}
    for name, hint in (("group", ""), ("trajectory", ""), ("anchor", f"; {NO_ANCHOR}")):
        check_present(f"gigpo: {name}", turns[name], kept, hint)
    groups, group_ids = factorize("gigpo: group", turns["group"], kept)
    trajectories, _ = factorize("gigpo: trajectory", list(zip(groups.tolist(), turns["trajectory"], strict=True)), kept)
    steps, rewards = numbers("gigpo: step", turns["step"], kept), numbers("gigpo: reward", turns["reward"], kept)
    penalty = np.where(flags("gigpo: valid", turns["valid"], kept), 0.0, float(invalid_penalty))

    order = turn_order(trajectories, steps, turns["trajectory"], kept)
    traj_return = sum_turns(trajectories, rewards, order)
    step_return = discount(trajectories, rewards, order, gamma)

    first = np.unique(trajectories, return_index=True)[1]
    lone_groups = tuple(group_ids[g] for g in np.flatnonzero(np.bincount(groups[first]) == 1))
    if lone == "error" and lone_groups:
        check_group_size(1, f"group {lone_groups[0]!r}")

    score = traj_return - penalty
    if episode_stats == "per_step":
        samples, sample_codes = score, groups
    else:
        samples, sample_codes = traj_return[first], groups[first]
    episode, count = _normalise(score, groups, samples, sample_codes, norm)
    episode = np.where(count[groups] == 1, score if lone == "score" else 0.0, episode)

    labels = turns["anchor"]
    if similarity is not None:
        labels = similar_anchors(groups, steps, labels, similarity, kept)
    step_groups, _ = factorize("gigpo: anchor", list(zip(groups.tolist(), labels, strict=True)), kept)
    penalised = step_return - penalty
    step_adv, size = _normalise(penalised, step_groups, penalised, step_groups, norm)

    def spread(values: NDArray[Any], fill: float = 0) -> NDArray[Any]:
        out = np.full(rows, fill, dtype=values.dtype)
        out[kept] = values
        return out

    return GigpoAdvantages(
        episode=spread(episode),
        step=spread(step_adv),
        total=spread(episode + step_weight * step_adv),
        trajectory_return=spread(traj_return),
        step_return=spread(step_return),
        step_group=spread(step_groups, -1),
        step_group_size=spread(size[step_groups]),
        lone_groups=lone_groups,
    )


def check_group_size(size: int, where: str = "rollout.n") -> None:
    """Refuse groups of one trajectory: GiGPO compares trajectories of one task with each other.

    Raises:
        ValueError: `size` is below 2.
    """
    if size < 2:
        raise ValueError(
            f"gigpo: {where} has group size {size}; advantages compare trajectories of one task, use at least 2"
        )


def _normalise(
    values: FloatRows, codes: IntRows, samples: FloatRows, sample_codes: IntRows, norm: Norm
) -> tuple[FloatRows, IntRows]:
    """Normalise `values` by the statistics of `samples` of the same code; also the number of samples per code."""
    n = int(codes.max()) + 1 if len(codes) else 0
    count = np.bincount(sample_codes, minlength=n)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, sample_codes, samples)
    np.maximum.at(high, sample_codes, samples)
    tolerance = CONSTANT_TOLERANCE * np.maximum(np.abs(low), np.abs(high))
    constant = high - low <= tolerance

    shifted = samples - low[sample_codes]
    mean = np.bincount(sample_codes, weights=shifted, minlength=n) / np.maximum(count, 1)
    deviation = (values - low[codes]) - mean[codes]
    deviation[constant[codes] & (np.abs(deviation) <= tolerance[codes])] = 0.0
    if norm == "mean_std":
        square = np.bincount(sample_codes, weights=(shifted - mean[sample_codes]) ** 2, minlength=n)
        std = np.sqrt(square / np.maximum(count - 1, 1))
        deviation /= np.where(constant, 1.0, std + STD_EPSILON)[codes]
    return deviation, count


def _check_options(
    gamma: float,
    step_weight: float,
    norm: str,
    episode_stats: str,
    invalid_penalty: float,
    similarity: float | None,
    lone: str,
) -> None:
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"gigpo: gamma={gamma}, must lie in [0, 1]")
    for name, value in (("step_weight", step_weight), ("invalid_penalty", invalid_penalty)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"gigpo: {name}={value}, must be a finite number >= 0")
    if similarity is not None and not 0.0 < similarity <= 1.0:
        raise ValueError(f"gigpo: similarity={similarity}, must be None (exact anchors) or lie in (0, 1]")
    choices = {"norm": (norm, ("mean", "mean_std")), "episode_stats": (episode_stats, ("per_step", "per_trajectory"))}
    for name, (chosen, allowed) in {**choices, "lone": (lone, ("score", "zero", "error"))}.items():
        if chosen not in allowed:
            raise ValueError(f"gigpo: {name}={chosen!r}, must be one of {', '.join(allowed)}")
