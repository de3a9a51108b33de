# SPDX-License-Identifier: Apache-2.0
"""`rows=plain_under_skill`: replies of the plain arm scored under their group's skill, and what that changes.

The extra rows hold the same replies on prompts with the skill. They take part in the log-prob pass, which gives t, and
in no update; the policy rows themselves carry the loss, or get other advantages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.token_teacher import token_terms
from siri_verl.rollout.row_contract import SKILL_PROMPT
from siri_verl.training import queue
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.internalization_rows import add_rows, reply_on, with_tag
from siri_verl.training.internalization_weights import LearnedRows, log_probs
from siri_verl.training.queue import RowBatch
from siri_verl.training.selection import Selection
from siri_verl.training.step_table import StepTable


@dataclass(frozen=True)
class ScoredRows:
    """Plain turns with a teacher.

    Attributes:
        rows: (turns,) positions in the step table.
        weight: (turns,) w.
        delta: (turns,) Delta of the group; NaN where undefined.
        keys: (turns,) key of the extra row.
        added: every key added to the batch.
    """

    rows: np.ndarray
    weight: np.ndarray
    delta: np.ndarray
    keys: list[str]
    added: list[str]


def append_scored(
    batch: RowBatch,
    table: StepTable,
    is_open: np.ndarray,
    weight: np.ndarray,
    delta: np.ndarray,
    layout: BatchLayout,
) -> tuple[RowBatch, ScoredRows]:
    """Add a row on the skill's prompt for every open plain turn that has one.

    Args:
        batch: the rows so far, as `layout` cuts them.
        table: the step table.
        is_open: (rows,) plain turns to be scored.
        weight: (rows,) w.
        delta: (rows,) Delta of each row's group.
        layout: how verl will cut the batch.
    """
    rows = np.flatnonzero(is_open)
    sources = queue.get_rows([table.keys[row] for row in rows], batch.partition_id) if len(rows) else []
    prompts = [source[queue.EXTRA_FIELDS].get(SKILL_PROMPT) for source in sources]
    known = [i for i, prompt in enumerate(prompts) if prompt is not None]
    rows, tags = rows[known], dict(zip(batch.keys, batch.tags, strict=True))

    def content(i: int, uid: str):
        source = sources[known[i]]
        prompt = torch.tensor(prompts[known[i]], dtype=torch.int64)
        row = reply_on(source, prompt, source["responses"].clone(), uid)
        return with_tag(row, tags[table.keys[rows[i]]])

    selection = Selection(rows, weight[rows], np.zeros(len(rows), dtype=np.int64))
    placed, parts = np.ones(len(rows), dtype=bool), replace(layout, optimizer_steps=1)
    batch, keys, _, added = add_rows(batch, selection, placed, content, parts, whole=True)
    return batch, ScoredRows(rows, weight[rows], delta[rows], [str(key) for key in keys], added)


def own_rows_of(
    batch: RowBatch, scored: ScoredRows, table: StepTable, settings: InternalizationSettings, layout: BatchLayout
) -> LearnedRows:
    """The scored plain turns as rows that carry the loss.

    Args:
        batch: of the policy's update, without the extra rows of `scored`.
        scored: from `append_scored`.
        table: the step table.
        settings: span.
        layout: how verl will cut the batch.
    """
    keys = [table.keys[row] for row in scored.rows]
    position = {key: i for i, key in enumerate(batch.keys)}
    per_rank = len(batch) // layout.dp_size
    per_step = per_rank // layout.optimizer_steps
    step = np.array([position[key] % per_rank // per_step for key in keys], dtype=np.int64)
    action = np.stack([table.span_start[scored.rows], table.span_end[scored.rows]], axis=1)
    reply = np.stack([np.zeros(len(keys), dtype=np.int64), table.reply_tokens[scored.rows]], axis=1)
    old = log_probs(keys, batch.partition_id)
    teacher = log_probs(scored.keys, batch.partition_id)
    span = reply if settings.span == "response" else action
    none, zeros = [None] * len(keys), np.zeros(len(keys), dtype=np.int64)
    return LearnedRows(
        list(keys), span, action, scored.weight, step, old, list(old), teacher, list(scored.keys), zeros, none
    )


def change_advantages(
    batch: RowBatch,
    scored: ScoredRows | None,
    table: StepTable,
    settings: InternalizationSettings,
    coefficient: float,
    norm: str,
    success_reward: float,
) -> tuple[RowBatch, dict[str, float]]:
    """Replace the column `advantages`: by `token_terms` on scored rows, by 0 with `replaces_policy`.

    Args:
        batch: with `advantages` and `old_log_probs`.
        scored: the plain turns that have a teacher.
        table: the step table.
        settings: role and weights.
        coefficient: lambda of this update.
        norm: how the advantages were normalised.
        success_reward: their scale under norm=mean.

    Returns:
        (the batch with the column, metrics).
    """
    values = queue.get_columns(batch.keys, batch.partition_id, ["advantages"])["advantages"]
    if settings.replaces_policy:
        return queue.put_column(batch, "advantages", [torch.zeros_like(row) for row in values]), {}
    if scored is None or not len(scored.rows):
        return batch, {}
    keys = [table.keys[row] for row in scored.rows]
    position = {key: i for i, key in enumerate(batch.keys)}
    old, teacher = (_padded(log_probs(names, batch.partition_id)) for names in (keys, scored.keys))
    before = _padded([values[position[key]].double().numpy() for key in keys])
    places = torch.arange(old.shape[1])
    action = _between(places, table.span_start[scored.rows], table.span_end[scored.rows])
    reply = _between(places, np.zeros(len(keys), dtype=np.int64), table.reply_tokens[scored.rows])
    groups = np.unique(table.group[scored.rows].astype(str), return_inverse=True)[1]
    after = token_terms(
        replace(settings, lambda_max=coefficient, warmup_updates=0, decay_updates=None),
        student=old,
        old=old,
        teacher=teacher,
        advantage=before,
        mask=reply if settings.span == "response" else action,
        action=action,
        gap=torch.from_numpy(np.nan_to_num(scored.delta)),
        group=torch.from_numpy(groups),
        norm=norm,
        success_reward=success_reward,
    ).advantage
    changed = list(values)
    for i, key in enumerate(keys):
        place = position[key]
        changed[place] = after[i, : len(values[place])].to(values[place].dtype)
    metrics = {
        "teacher_gain_mean": float((teacher - old)[reply].mean()),
        "advantage_change_abs": float((after - before)[reply].abs().mean()),
        "rows_scored": float(len(keys)),
    }
    return queue.put_column(batch, "advantages", changed), metrics


def _padded(rows: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)


def _between(places: torch.Tensor, first: np.ndarray, end: np.ndarray) -> torch.Tensor:
    return (places >= torch.from_numpy(first)[:, None]) & (places < torch.from_numpy(end)[:, None])
