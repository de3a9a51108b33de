# SPDX-License-Identifier: Apache-2.0
"""The column of weights m * w / sum m, from the plain log-probs of the batch's log-prob pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from siri_verl.core.deciding_tokens import deciding_metrics
from siri_verl.core.internalization import InternalizationSettings, WeightColumn, plain_policy_metrics, weight_column
from siri_verl.training import queue
from siri_verl.training.internalization_rows import ExtraRows
from siri_verl.training.loss import WEIGHT_COLUMN
from siri_verl.training.queue import RowBatch


def put_weights(
    batch: RowBatch, extra: ExtraRows, settings: InternalizationSettings, policy_tokens: int
) -> tuple[RowBatch, WeightColumn]:
    """Compute the column and add it to every row of the batch; it is 0 on policy rows.

    Args:
        batch: with `old_log_probs`.
        extra: from `append`.
        settings: normalisation and floor.
        policy_tokens: tokens of the learned span on all policy rows that count. Under `normalise=all_tokens` an equal
            share of it is the denominator of each optimizer step (and no less than the tokens learned in it).

    Returns:
        (the batch with the column, the column and its metrics).
    """
    placed = [i for i, key in enumerate(extra.keys) if key is not None]
    shape = len(extra.selection), int(extra.span[:, 1].max(initial=1))
    tokens = np.arange(shape[1])
    spans = (tokens >= extra.span[:, :1]) & (tokens < extra.span[:, 1:])
    keys = [extra.keys[i] for i in placed]
    log_probs = _log_probs(batch, placed, keys, np.zeros(len(extra.selection), dtype=np.int64), shape)
    learned_in_step = np.bincount(extra.selection.step, weights=spans.sum(axis=1), minlength=extra.optimizer_steps)
    all_tokens = np.maximum(policy_tokens / extra.optimizer_steps, learned_in_step)
    column = weight_column(
        [True] * shape[0],
        extra.selection.weight,
        spans,
        settings,
        optimizer_step=extra.selection.step,
        all_tokens=all_tokens.tolist(),
        plain_log_prob=log_probs if len(placed) == shape[0] else None,
    )
    if len(placed) < shape[0]:
        # Rows of weight 0 were not scored: the metrics are of the others.
        gated = log_probs[placed][column.gate[placed]]
        column.metrics.update(plain_policy_metrics(gated, gated))
    learned = log_probs[placed][column.column[placed] > 0]
    column.metrics["plain_log_prob_weighted_mean"] = float(learned.mean()) if learned.size else float("nan")
    if settings.source == "skill":
        on_skill = _log_probs(batch, placed, [extra.sources[i] for i in placed], extra.offset, shape)
        gate = column.gate[placed]
        column.metrics.update(deciding_metrics(log_probs[placed][gate], on_skill[placed][gate]))

    lengths = {key: int(tag["response_len"]) for key, tag in zip(batch.keys, batch.tags, strict=True)}
    position = {key: i for i, key in enumerate(extra.keys) if key is not None}
    values = []
    for key in batch.keys:
        row = torch.zeros(lengths[key])
        if key in position:
            row[:] = torch.as_tensor(column.column[position[key], : lengths[key]], dtype=torch.float32)
        values.append(row)
    return queue.put_column(batch, WEIGHT_COLUMN, values), column


def _log_probs(
    batch: RowBatch, placed: Sequence[int], keys: Sequence[str | None], offset: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """(selected, tokens) log-probs of the turns in `placed` on the prompts of these rows; 0 elsewhere.

    Args:
        batch: with `old_log_probs`.
        placed: positions in the selection.
        keys: (placed,) of the rows.
        offset: (selected,) the token of the row's reply that becomes token 0.
        shape: (selected, tokens).
    """
    found = np.zeros(shape)
    scored = queue.get_columns(keys, batch.partition_id, ["old_log_probs"])["old_log_probs"]
    for i, values in zip(placed, scored, strict=True):
        part = values.double().numpy()[offset[i] :][: shape[1]]
        found[i, : len(part)] = part
    return found
