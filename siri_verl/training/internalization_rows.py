# SPDX-License-Identifier: Apache-2.0
"""Internalization rows: the reply of a turn on another prompt, as extra rows of the batch.

One log-prob pass then scores both contexts, and verl's sharding, packing and optimizer need no change. The rows have
empty response and loss masks, so that verl's loss terms, denominators and estimators leave them out, and verl's tag
`is_padding`, so that its data metrics do. Only the column of weights (internalization_weights.py) gives them a loss.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.training import queue
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.queue import RowBatch
from siri_verl.training.selection import Cells, Cut, Selection, cut_reply
from siri_verl.training.step_table import StepTable

ROW_TAG = "siri_internalization"
Content = tuple[dict[str, Any], dict[str, Any]]
"""Columns and tag of a row."""


@dataclass(frozen=True)
class ExtraRows:
    """Internalization rows in a batch.

    Attributes:
        selection: the selected turns. Those of weight 0 count in the denominator and need no row.
        keys: (selected,) key of each turn's row, None where it has none.
        span: (selected, 2) first and one past the last learned token, in the response of the extra row.
        filler: keys of rows that only make the cells equally large; their weights are 0.
        optimizer_steps: M, of the policy or, where the rows have optimizer steps of their own, those.
        first: (selected,) position in the turn's reply of the extra row's first token.
        action: (selected, 2) first and one past the last token of the action, in the response of the extra row.
        alone: the keys of an update of these rows alone, in order; empty where they are part of the policy's.
    """

    selection: Selection
    keys: list[str | None]
    span: np.ndarray
    filler: list[str]
    optimizer_steps: int
    first: np.ndarray
    action: np.ndarray
    alone: list[str]

    @property
    def added(self) -> list[str]:
        """Every key added to the batch."""
        return [key for key in self.keys if key is not None] + self.filler


def append(
    batch: RowBatch, table: StepTable, selection: Selection, settings: InternalizationSettings, layout: BatchLayout
) -> tuple[RowBatch, ExtraRows]:
    """Add a row for every selected turn, so that all ranks and optimizer steps get equally many.

    Args:
        batch: policy rows, balanced and padded according to `layout`.
        table: the step table that the selection refers to.
        selection: from `select`, over `settings.steps` optimizer steps where that is not 0.
        settings: span, context, floor, steps.
        layout: how verl will cut the batch.

    Returns:
        (the larger batch, what was added). Every optimizer step keeps the policy rows it had.
    """
    tags = dict(zip(batch.keys, batch.tags, strict=True))
    cuts = [_cut(table, row, tags, settings) for row in selection.rows.tolist() if row >= 0]
    cuts += [Cut(0, len(past.response), past.span, past.action) for past in selection.past]
    parts = replace(layout, optimizer_steps=settings.steps or layout.optimizer_steps)
    # A floor needs the plain log-prob of every gated token, and a sum of weights its weight; else a row of weight 0
    # would be scored for nothing.
    scores_all = settings.log_prob_floor is not None or settings.normalise == "weights"
    placed = (selection.weight > 0) | scores_all
    chosen = np.flatnonzero(placed)
    current = [i for i in chosen.tolist() if selection.rows[i] >= 0]
    source_keys = [table.keys[int(selection.rows[i])] for i in current]
    sources = dict(zip(current, _rows(source_keys, batch.partition_id), strict=True))
    # Columns that a row of an earlier iteration has in common with all others come from any row.
    template = _rows(table.keys[:1], batch.partition_id)[0] if selection.past else {}
    first_past = len(selection) - len(selection.past)

    def content(i: int, uid: str) -> Content:
        if i >= first_past:
            past = selection.past[i - first_past]
            response = torch.tensor(past.response, dtype=template["responses"].dtype)
            row = reply_on(template, torch.tensor(past.prompt, dtype=torch.int64), response, uid)
            if "rollout_log_probs" in row:
                row["rollout_log_probs"] = torch.tensor(past.old, dtype=template["rollout_log_probs"].dtype)
            return with_tag(row, tags[table.keys[0]])
        return with_tag(_extra_row(sources[i], cuts[i], uid), tags[table.keys[int(selection.rows[i])]])

    larger, keys, filler, alone = add_rows(batch, selection, placed, content, parts, whole=bool(settings.steps))
    extra = ExtraRows(
        selection,
        keys,
        np.array([cut.span for cut in cuts], dtype=np.int64).reshape(-1, 2),
        filler,
        parts.optimizer_steps,
        np.array([cut.first for cut in cuts], dtype=np.int64),
        np.array([cut.action for cut in cuts], dtype=np.int64).reshape(-1, 2),
        alone if settings.steps else [],
    )
    return larger, extra


def add_rows(
    batch: RowBatch,
    selection: Selection,
    placed: np.ndarray,
    content: Callable[[int, str], Content],
    layout: BatchLayout,
    whole: bool,
) -> tuple[RowBatch, list[str | None], list[str], list[str]]:
    """Add a row for each placed member of a selection, and filler, so that every cell has equally many.

    Args:
        batch: the rows so far.
        selection: what is added.
        placed: (selected,) bool: which members get a row.
        content: (position in the selection, uid) -> columns and tag.
        layout: the cells: ranks, optimizer steps, micro-batch.
        whole: the rows of a rank stand behind all that it has.

    Returns:
        (the larger batch, (selected,) keys, keys of filler, all added keys in the order of the cells).
    """
    keys: list[str | None] = [None] * len(selection)
    cells = Cells.fill(selection, placed, layout)
    if cells.height == 0:
        return batch, keys, [], []
    uid = f"internal{uuid.uuid4().hex}"
    rows: dict[str, Content] = {}
    for i in np.flatnonzero(placed).tolist():
        keys[i] = f"{uid}_{i}_0"
        rows[str(keys[i])] = content(i, uid)
    columns, tag = min(rows.values(), key=lambda row: row[1]["seq_len"])
    empty = torch.zeros_like(columns["responses"])
    blank = {**columns, "response_mask": empty, "loss_mask": empty}
    filler = [f"{uid}_{len(selection) + number}_0" for number in range(cells.missing)]
    rows.update({key: (blank, dict(tag)) for key in filler})
    queue.put_rows(batch.partition_id, rows)
    tags = dict(zip(batch.keys, batch.tags, strict=True)) | {key: tag for key, (_, tag) in rows.items()}
    order = cells.order(batch.keys, keys, filler, whole)
    larger = RowBatch(
        keys=order,
        tags=[tags[key] for key in order],
        partition_id=batch.partition_id,
        fields=batch.fields,
        extra_info=batch.extra_info,
    )
    return larger, keys, filler, [key for key in order if key in rows]


def _cut(table: StepTable, row: int, tags: dict[str, dict], settings: InternalizationSettings) -> Cut:
    length = int(tags[table.keys[row]]["response_len"])
    return cut_reply(int(table.span_start[row]), int(table.span_end[row]), length, settings)


def _rows(keys: Sequence[str], partition_id: str) -> list[dict[str, Any]]:
    return queue.get_rows(keys, partition_id) if keys else []


def _extra_row(source: dict[str, Any], cut: Cut, uid: str) -> dict[str, Any]:
    """A source row with the plain prompt in place of its own and the cut reply."""
    plain = source[queue.EXTRA_FIELDS].get("plain_prompt_ids")
    prompt = torch.tensor(plain, dtype=torch.int64) if plain is not None else source["prompts"]
    row = reply_on(source, prompt, source["responses"][cut.first : cut.end].clone(), uid)
    if "rollout_log_probs" in row:
        row["rollout_log_probs"] = source["rollout_log_probs"][cut.first : cut.end].clone()
    return row


def reply_on(source: dict[str, Any], prompt: torch.Tensor, response: torch.Tensor, uid: str) -> dict[str, Any]:
    """A copy of a row with another prompt and response, which verl's terms leave out."""
    row = {name: value if torch.is_tensor(value) else copy.deepcopy(value) for name, value in source.items()}
    empty = torch.zeros_like(response)
    row.update(
        prompts=prompt,
        responses=response,
        input_ids=torch.cat([prompt, response]),
        position_ids=torch.arange(len(prompt) + len(response), dtype=source["position_ids"].dtype),
        response_mask=empty,
        loss_mask=empty,
        rm_scores=torch.zeros(len(response)),
        uid=uid,
        extra_fields={ROW_TAG: True},
    )
    return row


def with_tag(columns: dict[str, Any], source: dict[str, Any]) -> Content:
    """A row's columns and its tag, from the tag of the row it was made of."""
    lengths = [len(columns["prompts"]), len(columns["responses"])]
    tag = {**copy.deepcopy(source), "is_padding": True, ROW_TAG: True}
    tag.update(prompt_len=lengths[0], response_len=lengths[1], seq_len=sum(lengths))
    return columns, tag
