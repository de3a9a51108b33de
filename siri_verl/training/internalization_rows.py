# SPDX-License-Identifier: Apache-2.0
"""Internalization rows: the action of a skill trajectory on the plain prompt of its turn, as extra rows of the batch.

One log-prob pass then scores both contexts, and verl's sharding, packing and optimizer need no change. The rows have
empty response and loss masks, so that verl's loss terms, denominators and estimators leave them out, and verl's tag
`is_padding`, so that its data metrics do. Only the column of weights (internalization_weights.py) gives them a loss.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from siri_verl.core.internalization import InternalizationSettings
from siri_verl.training import queue
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.queue import RowBatch
from siri_verl.training.selection import Cells, Cut, Selection, cut_reply
from siri_verl.training.step_table import StepTable

ROW_TAG = "siri_internalization"


@dataclass(frozen=True)
class ExtraRows:
    """Internalization rows in a batch.

    Attributes:
        selection: the selected turns. Those of weight 0 count in the denominator and need no row.
        keys: (selected,) key of each turn's row, None where it has none.
        sources: (selected,) key of the row each turn was played in, whose prompt shows the skill.
        offset: (selected,) the token of the source's reply that is the first of the extra row's.
        span: (selected, 2) first and one past the last learned token, in the response of the extra row.
        filler: keys of rows that only make the cells equally large; their weights are 0.
        optimizer_steps: M.
    """

    selection: Selection
    keys: list[str | None]
    sources: list[str]
    offset: np.ndarray
    span: np.ndarray
    filler: list[str]
    optimizer_steps: int

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
        selection: from `select`.
        settings: span, context, floor.
        layout: how verl will cut the batch.

    Returns:
        (the larger batch, what was added). Every optimizer step keeps the policy rows it had.
    """
    tags = dict(zip(batch.keys, batch.tags, strict=True))
    cuts = []
    for row in selection.rows.tolist():
        length = int(tags[table.keys[row]]["response_len"])
        cuts.append(cut_reply(int(table.span_start[row]), int(table.span_end[row]), length, settings))
    span = np.array([cut.span for cut in cuts], dtype=np.int64).reshape(-1, 2)
    keys: list[str | None] = [None] * len(selection)
    sources = [table.keys[row] for row in selection.rows.tolist()]
    offset = np.array([cut.first for cut in cuts], dtype=np.int64)

    # A floor needs the plain log-prob of every gated token; without one, a row of weight 0 would be scored for nothing.
    placed = (selection.weight > 0) | (settings.log_prob_floor is not None)
    cells = Cells.fill(selection, placed, layout)
    if cells.height == 0:
        return batch, ExtraRows(selection, keys, sources, offset, span, [], layout.optimizer_steps)

    uid = f"internal{uuid.uuid4().hex}"
    chosen = np.flatnonzero(placed).tolist()
    source_keys = [sources[i] for i in chosen]
    rows: dict[str, tuple[dict, dict]] = {}
    contents = queue.get_rows(source_keys, batch.partition_id)
    for i, source_key, source in zip(chosen, source_keys, contents, strict=True):
        content = _extra_row(source, cuts[i], uid)
        tag = {**copy.deepcopy(tags[source_key]), "is_padding": True, ROW_TAG: True}
        tag.update(prompt_len=len(content["prompts"]), response_len=len(content["responses"]))
        tag["seq_len"] = tag["prompt_len"] + tag["response_len"]
        keys[i] = f"{uid}_{i}_0"
        rows[str(keys[i])] = (content, tag)

    content, tag = min(rows.values(), key=lambda row: row[1]["seq_len"])
    filler = [f"{uid}_{len(selection) + number}_0" for number in range(cells.missing)]
    rows.update({key: (content, dict(tag)) for key in filler})
    queue.put_rows(batch.partition_id, rows)
    tags.update({key: tag for key, (_, tag) in rows.items()})
    order = cells.order(batch.keys, keys, filler)
    larger = RowBatch(
        keys=order,
        tags=[tags[key] for key in order],
        partition_id=batch.partition_id,
        fields=batch.fields,
        extra_info=batch.extra_info,
    )
    return larger, ExtraRows(selection, keys, sources, offset, span, filler, layout.optimizer_steps)


def _extra_row(source: dict[str, Any], cut: Cut, uid: str) -> dict[str, Any]:
    """A copy of a source row with the plain prompt in place of its own and the cut reply."""
    plain = source[queue.EXTRA_FIELDS].get("plain_prompt_ids")
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
