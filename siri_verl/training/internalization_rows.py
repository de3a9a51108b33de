# SPDX-License-Identifier: Apache-2.0
"""Internalization rows: the action of a skill run, on the plain prompt of its turn, as extra rows of the batch.

One log-prob pass then scores both contexts, and verl's sharding, packing and optimizer need to know nothing. The rows
carry empty response and loss masks (verl's terms, denominators and estimators do not see them) and verl's tag
`is_padding` (its data metrics leave them out); `WEIGHT_COLUMN` alone speaks for them.
"""

from __future__ import annotations

import copy
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from siri_verl.core.internalization import (
    InternalizationSettings,
    WeightColumn,
    deal_rows,
    plain_policy_metrics,
    weight_column,
)
from siri_verl.training import queue
from siri_verl.training.loss import WEIGHT_COLUMN
from siri_verl.training.queue import RowBatch
from siri_verl.training.step_table import StepTable

ROW_TAG = "siri_internalization"


@dataclass(frozen=True)
class Selection:
    """Turns that pass the gate's row factors.

    Attributes:
        rows: (selected,) positions in the step table.
        weight: (selected,) w of each.
        step: (selected,) the optimizer step each is dealt to.
    """

    rows: np.ndarray
    weight: np.ndarray
    step: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class ExtraRows:
    """Internalization rows in a batch.

    Attributes:
        selection: what was selected; weightless rows count in the denominator and need no place in the batch.
        keys: row key of each selected turn, None where it is not in the batch.
        span: (selected, 2) first and one past the last learned token, in the response of the extra row.
        filler: keys of rows that only even out the optimizer steps; their column is 0.
        added: all keys added to the batch.
        optimizer_steps: M.
    """

    selection: Selection
    keys: list[str | None]
    span: np.ndarray
    filler: list[str]
    optimizer_steps: int

    @property
    def added(self) -> list[str]:
        """Every key added to the batch."""
        return [key for key in self.keys if key is not None] + self.filler


def select(table: StepTable, is_open: np.ndarray, weight: np.ndarray, optimizer_steps: int, span: str) -> Selection:
    """The open rows with an action, dealt to optimizer steps so that each learns about as many tokens of the span."""
    rows = np.flatnonzero(is_open & table.usable & table.valid & (table.span_tokens("action") > 0))
    return Selection(rows, np.asarray(weight)[rows], deal_rows(table.span_tokens(span)[rows], optimizer_steps))


@dataclass(frozen=True)
class Cut:
    """What of a reply becomes the response of an extra row, and which of its tokens are learned."""

    first: int
    end: int
    span: tuple[int, int]


def cut_reply(span_start: int, span_end: int, length: int, settings: InternalizationSettings) -> Cut:
    """The cut for a reply of `length` tokens whose action is [span_start, span_end).

    `span=response` learns the whole reply. `context=think` keeps the skill run's own think text before the action,
    unlearned; `context=no_think` puts the action right after the prompt.
    """
    if settings.span == "response":
        return Cut(0, length, (0, length))
    if settings.context == "think":
        return Cut(0, span_end, (span_start, span_end))
    return Cut(span_start, span_end, (0, span_end - span_start))


def _extra_row(source: dict[str, Any], cut: Cut, uid: str) -> dict[str, Any]:
    """A source row with the plain prompt in place of its own and the cut reply."""
    plain = source["extra_fields"].get("plain_prompt_ids")
    prompt = torch.tensor(plain, dtype=torch.int64) if plain is not None else source["prompts"]
    response = source["responses"][cut.first : cut.end].clone()
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
    if "rollout_log_probs" in row:
        row["rollout_log_probs"] = source["rollout_log_probs"][cut.first : cut.end].clone()
    return row


def append(
    batch: RowBatch,
    table: StepTable,
    selection: Selection,
    settings: InternalizationSettings,
    *,
    dp_size: int,
    optimizer_steps: int,
    micro_batch: int,
) -> tuple[RowBatch, ExtraRows]:
    """Put the selected turns into TransferQueue and lay out the batch so that optimizer steps and ranks share evenly.

    Args:
        batch: policy rows, already balanced: rank r holds the r-th of `dp_size` equal parts, and each part is cut into
            `optimizer_steps` slices.
        table: the step table the selection refers to.
        selection: from `select`.
        settings: span, context, floor.
        dp_size: data-parallel size.
        optimizer_steps: M.
        micro_batch: rows per rank and optimizer step are a multiple of it.

    Returns:
        (the larger batch, what was added). Every optimizer step keeps the policy rows it had.
    """
    # A floor needs the plain log-prob of every gated token; without one, weightless rows cost a pass for nothing.
    placed = (selection.weight > 0) | (settings.log_prob_floor is not None)
    cells: dict[tuple[int, int], list[int]] = {(r, m): [] for r in range(dp_size) for m in range(optimizer_steps)}
    for m in range(optimizer_steps):
        members = np.flatnonzero(placed & (selection.step == m))
        for place, i in enumerate(members.tolist()):
            cells[place % dp_size, m].append(i)
    height = max((len(members) for members in cells.values()), default=0)
    height = math.ceil(height / micro_batch) * micro_batch
    tags_of = dict(zip(batch.keys, batch.tags, strict=True))
    cuts = []
    for row in selection.rows.tolist():
        length = int(tags_of[table.keys[row]]["response_len"])
        cuts.append(cut_reply(int(table.span_start[row]), int(table.span_end[row]), length, settings))
    span = np.array([cut.span for cut in cuts], dtype=np.int64).reshape(-1, 2)
    keys: list[str | None] = [None] * len(selection)
    if height == 0:
        return batch, ExtraRows(selection, keys, span, [], optimizer_steps)

    uid = f"internal{uuid.uuid4().hex}"
    chosen = np.flatnonzero(placed).tolist()
    sources = queue.get_rows([table.keys[int(selection.rows[i])] for i in chosen], batch.partition_id)
    rows: dict[str, tuple[dict, dict]] = {}
    for position, i in enumerate(chosen):
        content = _extra_row(sources[position], cuts[i], uid)
        tag = {**copy.deepcopy(tags_of[table.keys[int(selection.rows[i])]]), "is_padding": True, ROW_TAG: True}
        tag.update(prompt_len=len(content["prompts"]), response_len=len(content["responses"]))
        tag["seq_len"] = tag["prompt_len"] + tag["response_len"]
        keys[i] = f"{uid}_{i}_0"
        rows[str(keys[i])] = (content, tag)

    shortest = min(rows, key=lambda key: rows[key][1]["seq_len"])
    filler: list[str] = []
    for members in cells.values():
        for _ in range(height - len(members)):
            key = f"{uid}_{len(selection) + len(filler)}_0"
            rows[key] = (rows[shortest][0], dict(rows[shortest][1]))
            filler.append(key)
    queue.put_rows(batch.partition_id, rows)
    order = _layout(batch.keys, cells, keys, list(filler), height, dp_size, optimizer_steps)
    tags_of.update({key: tag for key, (_, tag) in rows.items()})
    larger = RowBatch(
        keys=order,
        tags=[tags_of[key] for key in order],
        partition_id=batch.partition_id,
        fields=batch.fields,
        extra_info=batch.extra_info,
    )
    return larger, ExtraRows(selection, keys, span, filler, optimizer_steps)


def _layout(
    policy: Sequence[str],
    cells: dict[tuple[int, int], list[int]],
    keys: Sequence[str | None],
    filler: list[str],
    height: int,
    dp_size: int,
    optimizer_steps: int,
) -> list[str]:
    """Keys in the order verl cuts them: rank by rank, in each rank slice by slice."""
    per_slice = len(policy) // (dp_size * optimizer_steps)
    spare, order = iter(filler), []
    for r in range(dp_size):
        for m in range(optimizer_steps):
            first = (r * optimizer_steps + m) * per_slice
            order += policy[first : first + per_slice]
            members = cells[r, m]
            order += [str(keys[i]) for i in members] + [next(spare) for _ in range(height - len(members))]
    return order


def put_weights(
    batch: RowBatch, extra: ExtraRows, settings: InternalizationSettings, policy_tokens: int
) -> tuple[RowBatch, WeightColumn]:
    """Compute the column from the plain log-probs of the log-prob pass and put it beside every row.

    Args:
        batch: with `old_log_probs`.
        extra: from `append`.
        settings: normalisation and floor.
        policy_tokens: of the learned span on all policy rows that count; the denominator of `normalise=all_tokens`, an
            equal share of it per optimizer step (and no less than the tokens learned in it).

    Returns:
        (the batch with the column, the column and its metrics).
    """
    placed = [i for i, key in enumerate(extra.keys) if key is not None]
    scored = queue.get_columns([extra.keys[i] for i in placed], batch.partition_id, ["old_log_probs"])
    shape = len(extra.selection), int(extra.span[:, 1].max(initial=1))
    tokens = np.arange(shape[1])
    spans = (tokens >= extra.span[:, :1]) & (tokens < extra.span[:, 1:])
    log_probs = np.zeros(shape)
    for i, values in zip(placed, scored["old_log_probs"], strict=True):
        log_probs[i, : len(values)] = values.double().numpy()
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
        # Rows without weight were not scored: the log speaks of the others.
        gated = log_probs[placed][column.gate[placed]]
        column.metrics.update(plain_policy_metrics(gated, gated))
    learned = log_probs[placed][column.column[placed] > 0]
    column.metrics["plain_log_prob_weighted_mean"] = float(learned.mean()) if learned.size else float("nan")
    lengths = {key: int(tag["response_len"]) for key, tag in zip(batch.keys, batch.tags, strict=True)}
    position = {key: i for i, key in enumerate(extra.keys) if key is not None}
    values = []
    for key in batch.keys:
        row = torch.zeros(lengths[key])
        if key in position:
            row[:] = torch.as_tensor(column.column[position[key], : lengths[key]], dtype=torch.float32)
        values.append(row)
    return queue.put_column(batch, WEIGHT_COLUMN, values), column
