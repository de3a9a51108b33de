# SPDX-License-Identifier: Apache-2.0
"""The turns of a batch as checked, coded columns: what GiGPO computes with."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siri_verl.core.rows import (
    BoolRows,
    FloatRows,
    IntRows,
    as_list,
    check_lengths,
    check_present,
    factorize,
    flags,
    numbers,
)

NO_ANCHOR = "the agent loop must state the anchor of every turn, or choose another algorithm.adv_estimator"


@dataclass(frozen=True)
class Turns:
    """The rows of a batch that are not padding. R rows of N trajectories in G groups, in the order of the batch.

    Attributes:
        batch_rows: number of rows in the batch, padding included.
        row_R: the row of the batch.
        group_R: code of the group (task), 0 .. G-1 in order of appearance.
        trajectory_R: code of the trajectory, 0 .. N-1 in order of appearance.
        turn_R: turn index. Only the order counts: it may start anywhere and have gaps.
        anchor_R: code of the anchor state.
        anchors: the anchor states by code.
        reward_R: reward of the turn, in training units.
        valid_R: whether the action was well-formed.
        order_R: the rows sorted by (trajectory, turn).
    """

    batch_rows: int
    row_R: IntRows
    group_R: IntRows
    trajectory_R: IntRows
    turn_R: FloatRows
    anchor_R: IntRows
    anchors: list[Hashable]
    reward_R: FloatRows
    valid_R: BoolRows
    order_R: IntRows

    @property
    def first_N(self) -> IntRows:
        """The first row of each trajectory."""
        return np.unique(self.trajectory_R, return_index=True)[1]

    def on_batch(self, values_R: NDArray[Any], padding: float = 0) -> NDArray[Any]:
        """The values on the rows of the batch: (batch_rows,), with `padding` on padding rows."""
        values = np.full(self.batch_rows, padding, dtype=values_R.dtype)
        values[self.row_R] = values_R
        return values


def read_turns(
    group: Sequence[Hashable],
    trajectory: Sequence[Hashable],
    turn: Sequence[int],
    anchor: Sequence[Hashable],
    reward: Sequence[float],
    valid: Sequence[bool],
    padding: Sequence[bool] | None = None,
) -> Turns:
    """Check and code the columns of a batch. Lists, arrays and tensors with one entry per row.

    Args:
        group: the task (prompt group) of the row; any hashable.
        trajectory: the trajectory inside its group; any hashable. Ids may repeat in other groups.
        turn: turn index; a trajectory's rows are ordered by it.
        anchor: the state before acting, without history or instructions; any hashable. Empty text is a state, None
            and NaN are missing.
        reward: reward of that turn, in training units.
        valid: whether the action was well-formed (not a padding mask).
        padding: rows that are True are left out; their other fields are not read.

    Raises:
        ValueError: lengths differ, a reward is not finite, an anchor is missing, or a (group, trajectory, turn) occurs
            twice. The message names the row of the batch.
    """
    columns = {
        "group": group,
        "trajectory": trajectory,
        "turn": turn,
        "anchor": anchor,
        "reward": reward,
        "valid": valid,
    }
    lists = {name: as_list(f"gigpo: {name}", c, f"; {NO_ANCHOR}" * (name == "anchor")) for name, c in columns.items()}
    lists["padding"] = [False] * len(lists["group"]) if padding is None else as_list("gigpo: padding", padding)
    batch_rows = check_lengths("gigpo", lists)

    row_R = np.flatnonzero(~flags("gigpo: padding", lists["padding"]))
    kept = {name: [column[i] for i in row_R.tolist()] for name, column in lists.items()}
    for name, hint in (("group", ""), ("trajectory", ""), ("anchor", f"; {NO_ANCHOR}")):
        # An observation may be empty, so blank text is a state like any other.
        check_present(f"gigpo: {name}", kept[name], row_R, hint, blank=name != "anchor")
    group_R, _ = factorize("gigpo: group", kept["group"], row_R)
    ids = list(zip(group_R.tolist(), kept["trajectory"], strict=True))
    trajectory_R, _ = factorize("gigpo: trajectory", ids, row_R)
    anchor_R, anchors = factorize("gigpo: anchor", kept["anchor"], row_R)
    turn_R = numbers("gigpo: turn", kept["turn"], row_R)
    return Turns(
        batch_rows=batch_rows,
        row_R=row_R,
        group_R=group_R,
        trajectory_R=trajectory_R,
        turn_R=turn_R,
        anchor_R=anchor_R,
        anchors=anchors,
        reward_R=numbers("gigpo: reward", kept["reward"], row_R),
        valid_R=flags("gigpo: valid", kept["valid"], row_R),
        order_R=_turn_order(trajectory_R, turn_R, kept["trajectory"], row_R),
    )


def _turn_order(trajectory_R: IntRows, turn_R: FloatRows, ids: Sequence[Any], row_R: IntRows) -> IntRows:
    """The rows sorted by (trajectory, turn), which must name one turn. `ids` and `row_R` name them in errors."""
    order_R = np.lexsort((turn_R, trajectory_R))
    twice = np.flatnonzero((np.diff(trajectory_R[order_R]) == 0) & (np.diff(turn_R[order_R]) == 0))
    if len(twice):
        a, b = sorted((int(order_R[twice[0]]), int(order_R[twice[0] + 1])))
        raise ValueError(
            f"gigpo: rows {row_R[a]} and {row_R[b]} are both turn {turn_R[a]:g} of trajectory {ids[a]!r}; "
            "a (group, trajectory, turn) names one turn"
        )
    return order_R
