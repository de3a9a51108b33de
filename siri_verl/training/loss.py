# SPDX-License-Identifier: Apache-2.0
"""verl's PPO loss plus the masked distillation term.

    L = L_GiGPO + beta * L_KL + lambda(k) * L_int,    L_int = sum column * loss of the token teacher

The column m * w / sum m is computed by the driver (siri_verl/training/internalization_weights.py) and is part of the
rows; the loss per token is that of siri_verl/core/token_teacher.py, -log pi(y | plain prompt) by default.
Internalization rows have empty response and loss masks, so that verl's terms and their denominators leave them out;
policy rows have a column of zeros, so that this term leaves those out, unless their own tokens have a teacher.

verl's engine also calls this function with the logits of a micro-batch where targets are soft
(siri_verl/training/soft_targets.py).
"""

from __future__ import annotations

from typing import Any

import torch
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from siri_verl.core.internalization import weighted_sum
from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.token_teacher import token_loss
from siri_verl.training.soft_targets import SCORING, SOFT_LOSS, divergence_of_logits, gather_scores, score_logits

WEIGHT_COLUMN = "internalization_weight"
"""(rows, response_length) jagged float32: m * f * w / denominator of the row's optimizer step."""
TEACHER_COLUMN = "teacher_log_probs"
"""(rows, response_length) jagged float32: t; 0 where the weight is."""
OLD_COLUMN = "teacher_old_log_probs"
"""(rows, response_length) jagged float32: o, of a replayed row from when it was sampled."""
LAMBDA = "internalization_lambda"
"""lambda(k) of the update, in the batch's `extra_info`."""
SETTINGS = "internalization_settings"
"""The term's settings, in the batch's `extra_info`."""
ALONE = "internalization_alone"
"""Whether the update is of internalization rows alone, in the batch's `extra_info`: verl's terms are left out, whose
denominators would be 0."""


def siri_loss(
    config: Any,
    model_output: Any = None,
    data: Any = None,
    dp_group: Any = None,
    student_logits: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, Any]] | dict[str, torch.Tensor]:
    """A loss function for verl's training worker (verl/workers/utils/losses.py); engine-independent but for soft
    targets.

    Args:
        config: verl's ActorConfig.
        model_output: the engine's output with `log_probs`.
        data: the micro-batch with verl's columns and, where rows are to be internalized, those named here.
        dp_group: passed to verl's loss.
        student_logits: (1, packed tokens, vocabulary), where the engine asks for values per token.

    Returns:
        (loss, metrics); with `student_logits`, (1, packed tokens) per key, for `model_output`.
    """
    settings = tu.get_non_tensor_data(data=data, key=SETTINGS, default=None) or InternalizationSettings()
    scoring = tu.get_non_tensor_data(data=data, key=SCORING, default=False)
    if student_logits is not None:
        if scoring:
            return score_logits(student_logits, data, settings)
        learned = WEIGHT_COLUMN in data.keys()
        return divergence_of_logits(student_logits, data, settings, data[WEIGHT_COLUMN]) if learned else {}
    if scoring:
        gather_scores(model_output, data)
        return torch.zeros(()), {}
    alone = tu.get_non_tensor_data(data=data, key=ALONE, default=False)
    loss, metrics = (0.0, {}) if alone else ppo_loss(config, model_output, data, dp_group)
    if WEIGHT_COLUMN not in data.keys():
        return loss, metrics
    log_prob = no_padding_2_padding(model_output["log_probs"], data)
    names = [name for name in (WEIGHT_COLUMN, TEACHER_COLUMN, OLD_COLUMN) if name in data.keys()]
    padded = data.select(*names).to_padded_tensor()
    width = min(padded[WEIGHT_COLUMN].shape[1], log_prob.shape[1])
    log_prob = log_prob[:, :width]
    column, *others = (padded[name][:, :width].to(log_prob.device) for name in names)
    others = dict(zip(names[1:], others, strict=True))
    soft = no_padding_2_padding(model_output[SOFT_LOSS], data)[:, :width] if SOFT_LOSS in model_output else None
    each = token_loss(settings, log_prob, others.get(OLD_COLUMN), others.get(TEACHER_COLUMN), column != 0, soft)
    # Scaled as verl's own terms are: gradients are averaged over ranks.
    term = weighted_sum(each, column, int(data["dp_size"]))
    weight = float(tu.get_non_tensor_data(data=data, key=LAMBDA, default=0.0))
    metrics["internalization_loss"] = Metric(value=term.detach(), aggregation=AggregationType.SUM)
    return loss + weight * term, metrics
