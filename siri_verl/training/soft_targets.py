# SPDX-License-Identifier: Apache-2.0
"""Soft targets on the workers: what verl's FSDP engine computes from the logits of a micro-batch.

With the batch flag `distillation_use_topk` the engine first calls the loss function with `student_logits`, and puts the
values that it returns, one per token, into `model_output`; then it calls the same function for the loss
(verl/workers/engine/fsdp/transformer_impl.py, prepare_model_outputs and forward_step). Two passes use this:

    scoring   the log-probs of K tokens of the vocabulary at each token of a reply, without gradient (`score_logits`,
              then `gather_scores`, which joins the K values of a token to one column)
    update    the divergence of teacher and student at each learned token, with gradient (`divergence_of_logits`)

Columns of K values per token are flat in a row: tokens x K values of one dimension, since verl cuts and joins nested
tensors of one dimension reliably.
"""

from __future__ import annotations

from typing import Any

import torch

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.token_teacher import soft_divergence

SCORING = "internalization_scoring"
"""Whether a pass is to score replies, in the batch's `extra_info`."""
GIVEN_IDS = "internalization_given_ids"
"""(rows, response tokens x K) jagged int32: the tokens to be scored; absent: the most likely ones."""
SCORED_IDS, SCORED_LOG_PROBS = "internalization_scored_ids", "internalization_scored_log_probs"
"""(rows, response tokens x K) jagged, int32 and float32: what a scoring pass found. target=full has no ids."""
TARGET_IDS, TARGET_LOG_PROBS = "teacher_top_ids", "teacher_top_log_probs"
"""(rows, learned tokens x K) jagged: the teacher's, of the tokens whose weight is not 0. target=full has no ids."""
SOFT_LOSS = "internalization_soft_loss"
"""Key of `model_output`: the divergence at each token of the packed micro-batch."""


CHUNK = 1024
"""Tokens scored at once: their log-probs of the whole vocabulary are in memory."""
FULL_VOCABULARY = 2048
"""Largest vocabulary of target=full: larger ones would not fit into the row store."""


def tokens_per_place(settings: InternalizationSettings, vocabulary: int) -> int:
    """K.

    Raises:
        ValueError: target=full with a vocabulary above `FULL_VOCABULARY`.
    """
    if settings.target == "full" and vocabulary > FULL_VOCABULARY:
        raise ValueError(
            f"siri.internalization.target=full: the model's vocabulary has {vocabulary} tokens, and at most "
            f"{FULL_VOCABULARY} are allowed; use target=top_k"
        )
    return vocabulary if settings.target == "full" else min(settings.top_k, vocabulary)


def reply_places(data: Any) -> torch.Tensor:
    """(response tokens,) where in the packed micro-batch the logits of each token of the replies stand, row by row."""
    ends, replies = data["input_ids"].offsets()[1:], data["responses"].offsets()
    rows = torch.repeat_interleave(replies.diff())
    # The logits of a token are those at the token before it.
    return ends[rows] - replies[1:][rows] + torch.arange(len(rows), device=rows.device) - 1


def score_logits(logits: torch.Tensor, data: Any, settings: InternalizationSettings) -> dict[str, torch.Tensor]:
    """Log-probs of K tokens at each reply token: of the most likely tokens, of those in `GIVEN_IDS`, or of all.

    Args:
        logits: (1, packed tokens, vocabulary), divided by the temperature.
        data: the micro-batch.
        settings: target and K.

    Returns:
        (1, packed tokens) per key: K keys of ids and K of log-probs; 0 outside replies.
    """
    places, number = reply_places(data), tokens_per_place(settings, logits.shape[-1])
    given = data[GIVEN_IDS].values().view(-1, number) if GIVEN_IDS in data.keys() else None
    parts = []
    for chosen in torch.arange(len(places), device=places.device).split(CHUNK):
        log_probs = logits[0, places[chosen]].float().log_softmax(-1)
        if settings.target == "full":
            parts.append((log_probs,))
        elif given is not None:
            parts.append((log_probs.gather(-1, given[chosen].long()), given[chosen]))
        else:
            top = log_probs.topk(number)
            parts.append((top.values, top.indices.int()))
    found = {}
    for name, values in zip((SCORED_LOG_PROBS, SCORED_IDS), map(torch.cat, zip(*parts, strict=True)), strict=False):
        packed = values.new_zeros(number, logits.shape[1])
        packed[:, places] = values.T
        found.update({f"{name}_{k}": row[None] for k, row in enumerate(packed)})
    return found


def gather_scores(model_output: dict[str, Any], data: Any) -> None:
    """Replace the values of `score_logits` in a model output by the columns `SCORED_IDS` and `SCORED_LOG_PROBS`."""
    places, replies = reply_places(data), data["responses"].offsets()
    for name in (SCORED_IDS, SCORED_LOG_PROBS):
        parts = []
        while (key := f"{name}_{len(parts)}") in model_output:
            parts.append(model_output.pop(key).values()[places])
        if parts:
            flat = torch.stack(parts, dim=1).flatten()
            model_output[name] = torch.nested.nested_tensor_from_jagged(flat, replies * len(parts))


def divergence_of_logits(
    logits: torch.Tensor, data: Any, settings: InternalizationSettings, weight: torch.Tensor
) -> dict[str, torch.Tensor]:
    """D(student, teacher) at each token of a weight that is not 0.

    Args:
        logits: (1, packed tokens, vocabulary) of the student, divided by the temperature.
        data: the micro-batch with `TARGET_LOG_PROBS` and, unless target=full, `TARGET_IDS`.
        settings: divergence, target, K.
        weight: (rows, response tokens) jagged.

    Returns:
        `SOFT_LOSS`: (1, packed tokens), 0 elsewhere.
    """
    places, number = reply_places(data)[weight.values() != 0], tokens_per_place(settings, logits.shape[-1])
    student = logits[0, places].float().log_softmax(-1)
    if len(places):
        teacher = data[TARGET_LOG_PROBS].values().view(-1, number)
        if settings.target == "top_k":
            student = student.gather(-1, data[TARGET_IDS].values().view(-1, number).long())
        each = soft_divergence(settings, student, teacher, torch.ones_like(places, dtype=torch.bool))
    else:
        each = student.sum(-1)  # no value, but part of the graph, which a loss must be
    packed = each.new_zeros(logits.shape[1]).index_put((places,), each)
    return {SOFT_LOSS: packed[None]}
