# SPDX-License-Identifier: Apache-2.0
"""verl's PPO loss plus the masked distillation term.

    L = L_GiGPO + beta * L_KL + lambda(k) * L_int,    L_int = - sum column * log pi(y | plain prompt)

The column m * w / sum m is computed by the driver (siri_verl/training/internalization_weights.py) and is part of the
rows. Internalization rows have empty response and loss masks, so that verl's terms and their denominators leave them
out; policy rows have a column of zeros, so that this term leaves those out.
"""

from __future__ import annotations

from typing import Any

import torch
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from siri_verl.core.internalization import internalization_loss

WEIGHT_COLUMN = "internalization_weight"
"""(rows, response_length) jagged float32: m * w / sum m of the row's optimizer step."""
LAMBDA = "internalization_lambda"
"""lambda(k) of the update, in the batch's `extra_info`."""


def siri_loss(config: Any, model_output: Any, data: Any, dp_group: Any = None) -> tuple[torch.Tensor, dict[str, Any]]:
    """A loss function for verl's training worker (verl/workers/utils/losses.py); engine-independent.

    Args:
        config: verl's ActorConfig.
        model_output: the engine's output with `log_probs`.
        data: the micro-batch with verl's columns and, where rows are to be internalized, `internalization_weight`.
        dp_group: passed to verl's loss.

    Returns:
        (loss, metrics).
    """
    loss, metrics = ppo_loss(config=config, model_output=model_output, data=data, dp_group=dp_group)
    if WEIGHT_COLUMN not in data.keys():
        return loss, metrics
    log_prob = no_padding_2_padding(model_output["log_probs"], data)
    column = data.select(WEIGHT_COLUMN).to_padded_tensor()[WEIGHT_COLUMN]
    width = min(column.shape[1], log_prob.shape[1])
    # Scaled as verl's own terms are: gradients are averaged over ranks.
    term = internalization_loss(log_prob[:, :width], column[:, :width].to(log_prob.device), int(data["dp_size"]))
    weight = float(tu.get_non_tensor_data(data=data, key=LAMBDA, default=0.0))
    metrics["internalization_loss"] = Metric(value=term.detach(), aggregation=AggregationType.SUM)
    return loss + weight * term, metrics
