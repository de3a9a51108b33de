# SPDX-License-Identifier: Apache-2.0
"""Which turns are internalized in which optimizer step, what of their replies is learned, and where their rows stand.

A selected turn becomes an extra row of the batch (internalization_rows.py). The layout keeps the batch as verl cuts
it: rank by rank, and in each rank one slice per optimizer step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.runs.replay import PastRow
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.step_table import StepTable


@dataclass(frozen=True)
class Selection:
    """Turns that pass the gate.

    Attributes:
        rows: (selected,) positions in the step table; -1 for rows of earlier iterations.
        weight: (selected,) w of each.
        step: (selected,) the optimizer step each is assigned to.
        past: the rows of earlier iterations, which come last.
    """

    rows: np.ndarray
    weight: np.ndarray
    step: np.ndarray
    past: tuple[PastRow, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


def select(
    table: StepTable,
    is_open: np.ndarray,
    weight: np.ndarray,
    optimizer_steps: int,
    span: str,
    past: Sequence[PastRow] = (),
) -> Selection:
    """The open rows that are well formed and hold an action, divided among the optimizer steps.

    Args:
        table: the rows of the step.
        is_open: (rows,) the gate.
        weight: (rows,) w.
        optimizer_steps: M.
        span: `action` or `response`: the tokens that are balanced among optimizer steps.
        past: rows of earlier iterations to be learned again.
    """
    rows = np.flatnonzero(is_open & table.usable & table.valid & (table.span_tokens("action") > 0))
    tokens = np.concatenate([table.span_tokens(span)[rows], [row.span[1] - row.span[0] for row in past]])
    weights = np.concatenate([np.asarray(weight)[rows], [row.weight for row in past]])
    places = np.concatenate([rows, np.full(len(past), -1, dtype=np.int64)])
    return Selection(places, weights, deal_rows(tokens, optimizer_steps), tuple(past))


def deal_rows(tokens: Sequence[int] | np.ndarray, parts: int) -> np.ndarray:
    """Divide rows among `parts` optimizer steps: (rows,) part numbers.

    Parts differ by at most one row, and their numbers of tokens are balanced: the longest rows are assigned first,
    each to the part with the fewest tokens among those with the fewest rows.

    Raises:
        ValueError: `parts` is below 1.
    """
    if parts < 1:
        raise ValueError(f"internalization: {parts} parts; use at least 1")
    counts = np.asarray(tokens, dtype=np.int64)
    out, load, held = np.zeros(len(counts), dtype=np.int64), [0] * parts, [0] * parts
    for i in np.argsort(-counts, kind="stable").tolist():
        part = min(range(parts), key=lambda p: (held[p], load[p], p))
        out[i], held[part], load[part] = part, held[part] + 1, load[part] + int(counts[i])
    return out


@dataclass(frozen=True)
class Cut:
    """The part [first, end) of a reply that becomes the response of an extra row, and the learned tokens in it.

    Attributes:
        first, end: positions in the reply.
        span: first and one past the last learned token, counted from `first`.
        action: the same of the action.
    """

    first: int
    end: int
    span: tuple[int, int]
    action: tuple[int, int]


def cut_reply(span_start: int, span_end: int, length: int, settings: InternalizationSettings) -> Cut:
    """The cut of a reply of `length` tokens whose action is [span_start, span_end).

    `span=response` learns the whole reply. `context=think` keeps the skill trajectory's own thoughts before the action,
    unlearned; `context=no_think` puts the action right after the prompt.
    """
    action = (span_start, span_end)
    if settings.span == "response":
        return Cut(0, length, (0, length), action)
    if settings.context == "think":
        return Cut(0, span_end, action, action)
    moved = (0, span_end - span_start)
    return Cut(span_start, span_end, moved, moved)


@dataclass(frozen=True)
class Cells:
    """The extra rows of each rank in each optimizer step.

    Attributes:
        members: (rank, optimizer step) -> positions in the selection.
        height: rows of every cell, a multiple of the micro-batch; filler rows complete cells with fewer members.
    """

    members: dict[tuple[int, int], list[int]]
    height: int

    @classmethod
    def fill(cls, selection: Selection, placed: np.ndarray, layout: BatchLayout) -> Cells:
        """Distribute the placed members of the selection: each optimizer step's over the ranks in turn.

        Args:
            selection: the turns.
            placed: (selected,) bool: the turn gets a row in the batch.
            layout: of the batch.
        """
        ranks, steps = range(layout.dp_size), range(layout.optimizer_steps)
        members: dict[tuple[int, int], list[int]] = {(r, m): [] for r in ranks for m in steps}
        for m in steps:
            for place, i in enumerate(np.flatnonzero(placed & (selection.step == m)).tolist()):
                members[place % layout.dp_size, m].append(i)
        height = max(map(len, members.values()), default=0)
        return cls(members, math.ceil(height / layout.micro_batch) * layout.micro_batch)

    @property
    def missing(self) -> int:
        """Filler rows that complete all cells."""
        return sum(self.height - len(members) for members in self.members.values())

    def order(
        self, policy: Sequence[str], keys: Sequence[str | None], filler: Sequence[str], whole: bool = False
    ) -> list[str]:
        """The keys of the larger batch: after each slice of policy rows its extra rows and its filler.

        Args:
            policy: keys of the policy rows in the order of the batch.
            keys: (selected,) key of each selected turn's row, None where it has none.
            filler: `missing` keys.
            whole: the extra rows of a rank stand behind all of its policy rows, not behind each slice.
        """
        cells = sorted(self.members.items())
        before = [part == 0 or not whole for (_, part), _ in cells]
        per_slice, rest, spare, order = len(policy) // max(sum(before), 1), iter(policy), iter(filler), []
        for (_, members), comes_after_policy in zip(cells, before, strict=True):
            if comes_after_policy:
                order += islice(rest, per_slice)
            order += [str(keys[i]) for i in members] + [next(spare) for _ in range(self.height - len(members))]
        return order
