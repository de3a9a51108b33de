# SPDX-License-Identifier: Apache-2.0
"""How verl will cut a batch into ranks, optimizer steps and micro-batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omegaconf import DictConfig


@dataclass(frozen=True)
class BatchLayout:
    """Rank r gets the r-th of `dp_size` equal parts of the batch; each part is cut into `optimizer_steps` slices.

    Attributes:
        dp_size: data-parallel size.
        optimizer_steps: M, optimizer steps per iteration (per epoch of the update).
        micro_batch: rows of a slice are a multiple of it.
    """

    dp_size: int
    optimizer_steps: int
    micro_batch: int

    @property
    def multiple(self) -> int:
        """What the number of rows must be a multiple of."""
        return self.dp_size * self.optimizer_steps * self.micro_batch


def batch_layout(
    config: DictConfig, rows: int, dp_size: int, mini_batches: int | None, *, reference_policy: bool
) -> BatchLayout:
    """The layout of a batch.

    Args:
        config: verl's configuration.
        rows: of the batch, before padding.
        dp_size: data-parallel size of the actor.
        mini_batches: `siri.update.mini_batches`; None: verl's rows per optimizer step (ppo_mini_batch_size * n).
        reference_policy: whether a reference policy computes log-probs.
    """
    roles = config.actor_rollout_ref
    steps = mini_batches
    if steps is None:
        steps = max(1, math.ceil(rows / (roles.actor.ppo_mini_batch_size * roles.rollout.n)))
    # verl cuts a slice into equal micro-batches where they are not made up by tokens
    # (verl/workers/engine/utils.py, prepare_micro_batches).
    sizes = []
    if not roles.actor.use_dynamic_bsz:
        sizes += [roles.actor.ppo_micro_batch_size_per_gpu, roles.rollout.log_prob_micro_batch_size_per_gpu]
    if reference_policy and not roles.ref.log_prob_use_dynamic_bsz:
        sizes.append(roles.ref.log_prob_micro_batch_size_per_gpu)
    return BatchLayout(dp_size, steps, math.lcm(*sizes))
