# SPDX-License-Identifier: Apache-2.0
"""The columns of the loss: weights m * f * w / denominator and, where the settings have them, t, o and soft targets.

Everything comes from the log-probs of the batch's log-prob pass, but soft targets, which have passes of their own
(siri_verl/training/teacher_scores.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from siri_verl.core.deciding_tokens import deciding_metrics
from siri_verl.core.internalization import WeightColumn, plain_policy_metrics, weight_column
from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.token_teacher import token_weights
from siri_verl.runs.replay import PastRow
from siri_verl.training import queue
from siri_verl.training.internalization_rows import ExtraRows
from siri_verl.training.loss import OLD_COLUMN, TEACHER_COLUMN, WEIGHT_COLUMN
from siri_verl.training.queue import RowBatch
from siri_verl.training.soft_targets import TARGET_IDS, TARGET_LOG_PROBS
from siri_verl.training.step_table import StepTable
from siri_verl.training.teacher_scores import TopTokens


@dataclass(frozen=True)
class LearnedRows:
    """Rows whose tokens have a teacher. Log-probs are arrays over the tokens of the row's response.

    Attributes:
        keys: the row of the batch that carries the loss; None for a row of weight 0 that is not in the batch.
        span, action: (rows, 2) first and one past the last token.
        weight: (rows,) w.
        step: (rows,) optimizer step.
        old: o in this iteration; None where the row is not in the batch.
        sampled: o when the reply was sampled; the same but for rows of earlier iterations.
        teacher: t; None where there is none.
        teacher_keys: the row of the batch on the teacher's prompt; None for rows of earlier iterations and where there
            is no teacher.
        first: (rows,) position in that row's response of the first token of this one's.
        top: soft targets of the span's tokens; None without.
    """

    keys: list[str | None]
    span: np.ndarray
    action: np.ndarray
    weight: np.ndarray
    step: np.ndarray
    old: list[np.ndarray | None]
    sampled: list[np.ndarray | None]
    teacher: list[np.ndarray | None]
    teacher_keys: list[str | None]
    first: np.ndarray
    top: list[TopTokens | None]

    def __add__(self, other: LearnedRows) -> LearnedRows:
        joined = {}
        for name, ours in vars(self).items():
            theirs = getattr(other, name)
            joined[name] = ours + theirs if isinstance(ours, list) else np.concatenate([ours, theirs])
        return LearnedRows(**joined)

    def matrix(self, name: str) -> np.ndarray:
        """(rows, tokens) `old`, `sampled` or `teacher`, as wide as the spans; 0 where there is none."""
        width = int(self.span[:, 1].max(initial=1))
        out = np.zeros((len(self.keys), width))
        for i, values in enumerate(getattr(self, name)):
            if values is not None:
                out[i, : len(values)] = values[:width]
        return out

    def tokens(self, name: str) -> np.ndarray:
        """(rows, tokens) bool: of the `span` or the `action`."""
        edges, places = getattr(self, name), np.arange(int(self.span[:, 1].max(initial=1)))
        return (places >= edges[:, :1]) & (places < edges[:, 1:])


def log_probs(keys: Sequence[str], partition_id: str) -> list[np.ndarray]:
    """(keys,) `old_log_probs` of rows."""
    if not keys:
        return []
    found = queue.get_columns(list(keys), partition_id, ["old_log_probs"])["old_log_probs"]
    return [values.double().numpy() for values in found]


def plain_rows_of(extra: ExtraRows, table: StepTable, settings: InternalizationSettings, partition: str) -> LearnedRows:
    """Internalization rows with their log-probs; t are the log-probs of the skill arm's own rows."""
    selection = extra.selection
    number, first_past = len(selection), len(selection) - len(selection.past)
    placed = [i for i, key in enumerate(extra.keys) if key is not None]
    old: list[np.ndarray | None] = [None] * number
    for i, values in zip(placed, log_probs([str(extra.keys[i]) for i in placed], partition), strict=True):
        old[i] = values
    sampled, teacher = list(old), [None] * number
    teacher_keys: list[str | None] = [None] * number
    top: list[TopTokens | None] = [None] * number
    if settings.has_teacher:
        current = [i for i in placed if i < first_past]
        names = [table.keys[selection.rows[i]] for i in current]
        for i, name, values in zip(current, names, log_probs(names, partition), strict=True):
            teacher[i], teacher_keys[i] = values[extra.first[i] :][: len(old[i])], name
    for i, past in enumerate(selection.past, first_past):
        sampled[i] = np.array(past.old)
        teacher[i] = np.array(past.teacher) if past.teacher else None
        top[i] = TopTokens.of_past(past, settings)
    return LearnedRows(
        extra.keys,
        extra.span,
        extra.action,
        selection.weight,
        selection.step,
        old,
        sampled,
        teacher,
        teacher_keys,
        extra.first,
        top,
    )


def put_weights(
    batch: RowBatch, learned: LearnedRows, settings: InternalizationSettings, optimizer_steps: int, policy_tokens: int
) -> tuple[RowBatch, WeightColumn]:
    """Compute the columns and add them to every row of the batch; they are 0 on rows that are not learned.

    Args:
        batch: with `old_log_probs`.
        learned: the rows of the term.
        settings: normalisation, floor, weights.
        optimizer_steps: M.
        policy_tokens: tokens of the learned span on all policy rows that count. Under `normalise=all_tokens` an equal
            share of it is the denominator of each optimizer step (and no less than the tokens learned in it).

    Returns:
        (the batch with the columns, the column of weights and its metrics).
    """
    spans, old, teacher = learned.tokens("span"), learned.matrix("old"), learned.matrix("teacher")
    learned_in_step = np.bincount(learned.step, weights=spans.sum(axis=1), minlength=optimizer_steps)
    all_tokens = np.maximum(policy_tokens / optimizer_steps, learned_in_step)
    placed = [i for i, key in enumerate(learned.keys) if key is not None]
    weights = token_weights(settings, torch.from_numpy(old), torch.from_numpy(teacher)).numpy()
    column = weight_column(
        [True] * len(learned.keys),
        learned.weight,
        spans,
        settings,
        optimizer_step=learned.step,
        all_tokens=all_tokens.tolist(),
        plain_log_prob=old if len(placed) == len(learned.keys) else None,
        token_weight=weights,
        factor=np.where(learned.tokens("action"), settings.action_factor, 1.0),
    )
    if len(placed) < len(learned.keys):
        # Rows of weight 0 were not scored: the metrics are of the others.
        gated = old[placed][column.gate[placed]]
        column.metrics.update(plain_policy_metrics(gated, gated))
    weighted = (column.column > 0)[placed]
    column.metrics["plain_log_prob_weighted_mean"] = _mean(old[placed][weighted])
    if settings.has_teacher and settings.rows == "skill_on_plain":
        gate = column.gate[placed]
        column.metrics.update(deciding_metrics(old[placed][gate], teacher[placed][gate]))
    if settings.needs_teacher:
        column.metrics["teacher_gain_mean"] = _mean((teacher - old)[placed][weighted])
        column.metrics["token_weight_mean"] = _mean(weights[placed][weighted])
    masses = [np.exp(top.log_probs).sum(axis=1) for top in learned.top if top is not None]
    if masses:
        column.metrics["teacher_top_mass_mean"] = _mean(np.concatenate(masses))
    batch = _put(batch, WEIGHT_COLUMN, learned, column.column)
    if settings.needs_teacher:
        batch = _put(batch, TEACHER_COLUMN, learned, teacher)
    if settings.ratio_cap is not None:
        batch = _put(batch, OLD_COLUMN, learned, learned.matrix("sampled"))
    if settings.target != "sampled":
        batch = _put_top(batch, learned, column.column)
    return batch, column


def past_rows(
    extra: ExtraRows, learned: LearnedRows, partition_id: str, step: int, weight: np.ndarray
) -> list[PastRow]:
    """This iteration's rows of a positive weight, to be learned again later.

    Args:
        extra: the rows.
        learned: the same with log-probs (`plain_rows_of`).
        partition_id: `train`.
        step: the training step.
        weight: (rows,) what is kept as each row's weight.
    """
    number = len(extra.selection) - len(extra.selection.past)
    kept = [i for i in range(number) if extra.keys[i] is not None and learned.weight[i] > 0]
    if not kept:
        return []
    content = queue.get_columns([str(extra.keys[i]) for i in kept], partition_id, ["prompts", "responses"])
    return [
        PastRow(
            step=step,
            prompt=content["prompts"][place].tolist(),
            response=content["responses"][place].tolist(),
            span=tuple(learned.span[i].tolist()),
            action=tuple(learned.action[i].tolist()),
            weight=float(weight[i]),
            old=learned.old[i].tolist(),
            teacher=[] if learned.teacher[i] is None else learned.teacher[i].tolist(),
            **(learned.top[i].encoded() if learned.top[i] is not None else {}),
        )
        for place, i in enumerate(kept)
    ]


def _put(batch: RowBatch, name: str, learned: LearnedRows, values: np.ndarray) -> RowBatch:
    """Add a column: the values of each learned row on the row that carries its loss, 0 on all others."""
    lengths = {key: int(tag["response_len"]) for key, tag in zip(batch.keys, batch.tags, strict=True)}
    position = {key: i for i, key in enumerate(learned.keys) if key is not None}
    rows = []
    for key in batch.keys:
        row = torch.zeros(lengths[key])
        if key in position:
            known = torch.as_tensor(values[position[key], : lengths[key]], dtype=torch.float32)
            row[: len(known)] = known
        rows.append(row)
    return queue.put_column(batch, name, rows)


def _put_top(batch: RowBatch, learned: LearnedRows, weights: np.ndarray) -> RowBatch:
    """Add the columns of soft targets: K values for each token whose weight, in the loss's precision, is not 0."""
    position = {key: i for i, key in enumerate(learned.keys) if key is not None}
    chosen: dict[str, TopTokens] = {}
    for key in batch.keys:
        i = position.get(key)
        if i is not None and learned.top[i] is not None:
            first, end = learned.span[i]
            chosen[key] = learned.top[i][weights[i, first:end].astype(np.float32) != 0]
    for name, kind in ((TARGET_IDS, "ids"), (TARGET_LOG_PROBS, "log_probs")):
        values = {key: getattr(top, kind) for key, top in chosen.items() if getattr(top, kind) is not None}
        if values:
            nothing = next(iter(values.values()))[:0]
            rows = [torch.from_numpy(values.get(key, nothing).flatten()) for key in batch.keys]
            batch = queue.put_column(batch, name, rows)
    return batch


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
