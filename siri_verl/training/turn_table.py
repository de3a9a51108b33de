# SPDX-License-Identifier: Apache-2.0
"""A batch as one row per turn, whether its loop returned turns or whole trajectories.

Rows of whole trajectories state lists (`siri_verl/rollout/row_contract.py`), one entry per run of ones of their
response mask; each such run becomes a row of the table, exactly as if the loop had returned it as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siri_verl.core.segments import Segments, find_segments, spread
from siri_verl.rollout.row_contract import holds_trajectory, split_fields
from siri_verl.training import queue
from siri_verl.training.step_table import StepTable, split_key, states_outcome


@dataclass(frozen=True)
class TurnTable:
    """Turns, and where they lie in the batch.

    Attributes:
        table: one row per turn; padding rows have none.
        segments: (turns,) the batch row of each and its tokens.
        rows: number of rows in the batch.
    """

    table: StepTable
    segments: Segments
    rows: int

    def token_values(self, per_turn: np.ndarray, length: int) -> np.ndarray:
        """(rows, length): each turn's value on its tokens, 0 elsewhere."""
        return spread(per_turn, self.segments, (self.rows, length))


def build_turns(
    keys: Sequence[str],
    tags: Sequence[dict],
    fields: Sequence[Any],
    masks: Sequence[Any],
    scores: Sequence[float] | None = None,
) -> TurnTable:
    """Cut rows into turns. Rows that are turns themselves may stand beside rows of whole trajectories.

    Args:
        keys, tags, fields: of the batch's rows.
        masks: (rows,) response masks as the loop returned them, (response_length,) each.
        scores: (rows,) the reward function's scores, where rewards are stated as the outcome.

    Raises:
        TurnCountError: a list has another number of entries than the mask has runs of ones; names row and numbers.
        MissingAnchorsError: a row states neither fields nor lists; the message shows the lines to add.
    """
    real = [not tag.get("is_padding", False) for tag in tags]
    order = sorted((i for i in range(len(keys)) if real[i]), key=lambda i: split_key(keys[i]))
    turns_so_far: dict[tuple[str, str], int] = {}
    turn_keys, turn_tags, turn_rows, turn_scores = [], [], [], []
    where: list[tuple[int, int, int]] = []
    for i in order:
        row = fields[i] if isinstance(fields[i], dict) else {}
        mask = np.asarray(masks[i])
        if not holds_trajectory(row):
            pieces, stated = [(0, len(mask))], [row]
        else:
            found = find_segments([mask])
            pieces = list(zip(found.start.tolist(), found.end.tolist(), strict=True))
            stated = split_fields(keys[i], row, len(pieces))
        uid, session, _ = split_key(keys[i])
        for (start, end), of_turn in zip(pieces, stated, strict=True):
            number = turns_so_far.get((uid, session), 0)
            turns_so_far[uid, session] = number + 1
            turn_keys.append(f"{uid}_{session}_{number}")
            turn_tags.append(tags[i])
            turn_rows.append(of_turn)
            turn_scores.append(0.0 if scores is None else scores[i])
            where.append((i, start, end))
    table = StepTable.build(turn_keys, turn_tags, turn_rows, None if scores is None else turn_scores)
    columns = np.array(where, dtype=np.int64).reshape(-1, 3)
    return TurnTable(table, Segments(columns[:, 0], columns[:, 1], columns[:, 2]), len(keys))


def fetch_turns(keys: Sequence[str], tags: Sequence[dict], partition_id: str = "train") -> StepTable | TurnTable:
    """Read the turn fields of a batch from the row store.

    Returns:
        A StepTable with the rows of the batch when every row is a turn, else a TurnTable.
    """
    fields = queue.get_extra_fields(keys, partition_id)
    scores = queue.get_scores(keys, partition_id) if states_outcome(fields) else None
    if not any(map(holds_trajectory, fields)):
        return StepTable.build(keys, tags, fields, scores)
    # As the agent loop wrote it: rollout correction may have changed the trainer's copy.
    masks = queue.get_columns(keys, partition_id, ["response_mask"])["response_mask"]
    return build_turns(keys, tags, fields, masks, scores)
