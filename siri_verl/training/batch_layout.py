# SPDX-License-Identifier: Apache-2.0
"""How verl will cut a batch into ranks, optimizer steps and micro-batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from omegaconf import DictConfig


@dataclass(frozen=True)
class BatchLayout:
    """Rank r gets the r-th of `dp_size` equal parts of the batch; each part is cut into `optimizer_steps` slices.

    Attributes:
        dp_size: data-parallel size.
        optimizer_steps: M, optimizer steps per iteration (per epoch of the update).
        micro_batch: rows of a slice are a multiple of it.
        critic_rows: rows of the critic's optimizer steps, which are verl's; None without a critic.
    """

    dp_size: int
    optimizer_steps: int
    micro_batch: int
    critic_rows: int | None = None

    @property
    def multiple(self) -> int:
        """What the number of rows must be a multiple of."""
        return math.lcm(self.dp_size * self.optimizer_steps * self.micro_batch, self.critic_rows or 1)

    def steps_over(self, rows: int) -> tuple[int, ...]:
        """Optimizer steps per epoch of each model over so many rows, padding included."""
        return (self.optimizer_steps, *([rows // self.critic_rows] if self.critic_rows else []))


def batch_layout(
    config: DictConfig,
    rows: int,
    dp_size: int,
    mini_batches: int | None,
    *,
    reference_policy: bool,
    critic: bool = False,
) -> BatchLayout:
    """The layout of a batch.

    Args:
        config: verl's configuration.
        rows: of the batch, before padding.
        dp_size: data-parallel size of the actor.
        mini_batches: `siri.update.mini_batches`; None: verl's rows per optimizer step (ppo_mini_batch_size * n).
        reference_policy: whether a reference policy computes log-probs.
        critic: whether a critic is trained.
    """
    roles = config.actor_rollout_ref
    steps = mini_batches
    if steps is None:
        steps = max(1, math.ceil(rows / (roles.actor.ppo_mini_batch_size * roles.rollout.n)))
    # A step of padding alone has no token to divide by.
    steps = max(1, min(steps, rows))
    # verl cuts a slice into equal micro-batches where they are not made up by tokens
    # (verl/workers/engine/utils.py, prepare_micro_batches).
    sizes = []
    if not roles.actor.use_dynamic_bsz:
        sizes += [roles.actor.ppo_micro_batch_size_per_gpu, roles.rollout.log_prob_micro_batch_size_per_gpu]
    if reference_policy and not roles.ref.log_prob_use_dynamic_bsz:
        sizes.append(roles.ref.log_prob_micro_batch_size_per_gpu)
    critic_rows = config.critic.ppo_mini_batch_size * roles.rollout.n if critic else None
    return BatchLayout(dp_size, steps, math.lcm(*sizes), critic_rows)


def spread_padding(padding: Sequence[bool], layout: BatchLayout) -> list[int]:
    """An order of the rows in which every optimizer step holds a real row.

    The order is left as it is where it has that property. Otherwise every rank keeps its rows, real rows keep their
    order, and padding lies evenly between them. There must be as many real rows as optimizer steps.

    Args:
        padding: (rows,) whether a row is padding.
        layout: how the rows are cut.

    Returns:
        (rows,) positions of the rows in their new order.
    """
    padded = np.asarray(padding, dtype=bool).reshape(layout.dp_size, -1)
    size, steps = padded.shape[1], layout.steps_over(len(padding))
    most = max(steps)
    if all((~padded).reshape(layout.dp_size, count, -1).any(axis=(0, 2)).all() for count in steps):
        return list(range(len(padding)))
    left = (~padded).sum(axis=1)
    real = np.zeros_like(padded)
    # One real row in each of `most` intervals, on any rank: the other cut's intervals are longer and hold one too.
    for target in range(0, size, size // most):
        rank = int(left.argmax())
        if left[rank] > 0:
            real[rank, target], left[rank] = True, left[rank] - 1
    order = np.empty(padded.shape, dtype=np.int64)
    for rank in range(layout.dp_size):
        free = np.flatnonzero(~real[rank])
        real[rank, free[np.arange(left[rank]) * len(free) // max(1, left[rank])]] = True
        order[rank, real[rank]] = rank * size + np.flatnonzero(~padded[rank])
        order[rank, ~real[rank]] = rank * size + np.flatnonzero(padded[rank])
    return order.ravel().tolist()
