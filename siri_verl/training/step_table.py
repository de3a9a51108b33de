# SPDX-License-Identifier: Apache-2.0
"""The turns of a batch as one typed table: one row per turn, in the order of the batch.

Rows arrive in the order in which their trajectories happened to finish; `canonical_order` gives them an order that
depends on tasks, sessions and turns alone. Rows that verl adds as padding copy another row's columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from siri_verl.rollout import row_contract
from siri_verl.rollout.stated_values import stated_value
from siri_verl.training import queue
from siri_verl.trajectory.turn import Status

_DTYPES = {str: object, bool: bool, int: np.int64, float: np.float64}


class MissingAnchorsError(ValueError):
    """GiGPO was asked for, and rows do not state their anchors."""


class MissingOutcomeError(ValueError):
    """A turn's reward is stated as the outcome, and the reward function's score is not available."""


def split_key(key: str) -> tuple[str, str, int]:
    """(uid, session, turn index) of a row key `{uid}_{session}_{index}` (verl/trainer/ppo/v1/agent_loop_tq.py)."""
    parts = key.rsplit("_", 2)
    if len(parts) != 3:
        raise ValueError(f"row key {key!r}: expected '<uid>_<session>_<index>' as verl's V1 agent loop writes it")
    return parts[0], parts[1], int(parts[2])


def canonical_order(keys: Sequence[str], task_of: Mapping[str, str]) -> list[int]:
    """Positions of row keys sorted by task, session and turn: the same for the same episodes, whenever they happened
    to finish.

    Args:
        keys: row keys as verl writes them.
        task_of: task id by uid.
    """
    parts = [split_key(key) for key in keys]
    return sorted(range(len(keys)), key=lambda i: (task_of[parts[i][0]], int(parts[i][1]), parts[i][2], parts[i][0]))


@dataclass(frozen=True)
class StepTable:
    """The turns of a batch. Arrays are (rows,); text columns are object arrays of str.

    Padding rows (`real` is False) hold defaults or copies of another row and must enter no statistic.
    """

    keys: list[str]
    real: np.ndarray
    """bool: not a padding row."""
    group: np.ndarray
    """str: uid of the task's group."""
    trajectory: np.ndarray
    """str: `{uid}_{session}`."""
    turn: np.ndarray
    """int: turn index within the trajectory."""
    anchor: list[str]
    """The state before acting."""
    reward: np.ndarray
    """float: reward of this turn, in training units."""
    valid: np.ndarray
    """bool: the reply was well formed."""
    reply_tokens: np.ndarray
    """int: tokens of the reply."""
    admissible: np.ndarray
    """bool: the action had an effect."""
    task_id: np.ndarray
    """str."""
    category: np.ndarray
    """str: kind of task, "" where there is none."""
    arm: np.ndarray
    """str: `plain` or `skill`."""
    skill_id: np.ndarray
    """str: the skill shown, "" in the plain arm."""
    status: np.ndarray
    """str: why the trajectory ended, on every row of it."""
    reason: np.ndarray
    """str: why its environment failed, "" where it did not."""
    success: np.ndarray
    """bool: of the trajectory, on every row of it."""
    score: np.ndarray
    """float: native score of the trajectory, on every row of it."""
    skill_missing: np.ndarray
    """bool: the skill block did not fit into some prompt of the trajectory."""
    span_start: np.ndarray
    """int: first token of the action in the reply."""
    span_end: np.ndarray
    """int: one past its last token."""
    history_dropped: np.ndarray
    """int: history pairs left out because the prompt was too long."""
    node: np.ndarray
    """str: Ray node of the environment server."""
    server: np.ndarray
    """str: policy server that wrote the reply."""
    transcripts: dict[str, tuple[str, list]]
    """Trajectory -> (task text, [(observation, action), ...]), where the agent loop states it."""
    endings: dict[str, tuple[str, str]]
    """Trajectory -> (final observation, explanation of its score), where the agent loop states them."""

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def build(
        cls,
        keys: Sequence[str],
        tags: Sequence[dict],
        extra_fields: Iterable[Any],
        scores: Sequence[float] | None = None,
    ) -> StepTable:
        """From row keys, tags and their `extra_fields`.

        Args:
            keys, tags, extra_fields: of the rows.
            scores: (rows,) the reward function's score of each row's trajectory; needed where a `turn_reward` is
                `OUTCOME`.

        Raises:
            MissingAnchorsError: a real row lacks a required turn field; the message shows the lines to add.
            MissingOutcomeError: a row states `OUTCOME` and `scores` is None.
            RowContractError: a value is of another type than its field, or not finite.
        """
        real = np.array([not tag.get("is_padding", False) for tag in tags], dtype=bool)
        rows = [f if r and isinstance(f, dict) else {} for f, r in zip(extra_fields, real, strict=True)]
        for name in row_contract.REQUIRED:
            missing = [key for key, row, r in zip(keys, rows, real, strict=True) if r and row.get(name) is None]
            if missing:
                raise MissingAnchorsError(
                    row_contract.MISSING_ANCHORS.format(
                        count=len(missing), rows=int(real.sum()), field=name, key=missing[0]
                    )
                )
        parts = [split_key(key) for key in keys]

        def column(name: str, default: Any) -> list[Any]:
            return [stated_value(key, name, row.get(name, default)) for key, row in zip(keys, rows, strict=True)]

        optional = {
            name: np.array(column(name, default), dtype=_DTYPES[type(default)])
            for name, default in row_contract.OPTIONAL.items()
        }
        return cls(
            keys=list(keys),
            real=real,
            group=np.array([uid for uid, _, _ in parts], dtype=object),
            trajectory=np.array([f"{uid}_{session}" for uid, session, _ in parts], dtype=object),
            turn=np.array([index for _, _, index in parts], dtype=np.int64),
            anchor=column(row_contract.ANCHOR, ""),
            reward=_rewards(parts, rows, real, scores),
            valid=np.array(column(row_contract.VALID, True), dtype=bool),
            reply_tokens=np.array([tag.get("response_len", 0) for tag in tags], dtype=np.int64),
            transcripts={
                f"{uid}_{session}": (stated_value(key, "task", row.get("task", "")), row["transcript"])
                for key, (uid, session, _), row in zip(keys, parts, rows, strict=True)
                if row.get("transcript") is not None
            },
            endings={
                f"{uid}_{session}": (str(row.get("final_observation") or ""), str(row.get("explanation") or ""))
                for (uid, session, _), row in zip(parts, rows, strict=True)
                if row.get("final_observation") or row.get("explanation")
            },
            **optional,
        )

    @classmethod
    def fetch(cls, keys: Sequence[str], tags: Sequence[dict], partition_id: str = "train") -> StepTable:
        """`build` from what the row store holds of the rows.

        Args:
            keys, tags: of the rows.
            partition_id: `train` or `val`.
        """
        stated = queue.get_extra_fields(keys, partition_id)
        scores = queue.get_scores(keys, partition_id) if states_outcome(stated) else None
        return cls.build(keys, tags, stated, scores)

    @property
    def usable(self) -> np.ndarray:
        """(rows,) bool: real rows of trajectories whose environment was not lost."""
        return self.real & np.array([Status.counts(status) for status in self.status], dtype=bool)

    @cached_property
    def trajectory_return(self) -> np.ndarray:
        """(rows,) R_i of each row's trajectory: the undiscounted sum of its rewards; 0 on padding rows."""
        _, codes = np.unique(self.trajectory[self.real].astype(str), return_inverse=True)
        returns = np.zeros(len(self))
        returns[self.real] = np.bincount(codes, weights=self.reward[self.real])[codes]
        return returns

    def span_tokens(self, span: str) -> np.ndarray:
        """(rows,) tokens of each row in the learned span: the `action`, or the whole `response`."""
        return self.reply_tokens if span == "response" else self.span_end - self.span_start

    def take(self, order: Sequence[int]) -> StepTable:
        """The rows at these positions, in this order."""
        index = np.asarray(order, dtype=np.int64)
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: column[index] for name, column in columns.items() if isinstance(column, np.ndarray)}
        return replace(self, keys=[self.keys[i] for i in index], anchor=[self.anchor[i] for i in index], **arrays)

    def canonical_order(self) -> list[int]:
        """`canonical_order` of this table's rows."""
        return canonical_order(self.keys, dict(zip(self.group, self.task_id, strict=True)))

    def aligned_to(self, keys: Sequence[str], tags: Sequence[dict]) -> StepTable:
        """This table in the order of `keys`, with padding rows (tag `is_padding`) where the batch has some.

        Raises:
            KeyError: a real key is not in this table.
        """
        position = {key: i for i, key in enumerate(self.keys)}
        padding = [bool(tag.get("is_padding", False)) for tag in tags]
        if not any(padding):
            return self.take([position[key] for key in keys])
        # A padding row takes any real row's columns; `real` keeps it out of everything.
        table = self.take([0 if pad else position[key] for key, pad in zip(keys, padding, strict=True)])
        return replace(table, keys=list(keys), real=table.real & ~np.array(padding))

    def last_rows(self) -> np.ndarray:
        """Positions of each trajectory's last turn, real rows only, in table order."""
        last: dict[str, int] = {}
        for i in np.flatnonzero(self.real):
            name = self.trajectory[i]
            if name not in last or self.turn[i] > self.turn[last[name]]:
                last[name] = int(i)
        return np.array(sorted(last.values()), dtype=np.int64)


def states_outcome(fields: Iterable[Any]) -> bool:
    """Whether any row leaves a turn's reward to the reward function."""
    for row in fields:
        for name in (row_contract.TURN_REWARD, row_contract.LISTS[row_contract.TURN_REWARD]):
            stated = row.get(name) if isinstance(row, dict) else None
            if row_contract.OUTCOME in (stated if isinstance(stated, list) else [stated]):
                return True
    return False


def _rewards(
    parts: Sequence[tuple[str, str, int]], rows: Sequence[dict], real: np.ndarray, scores: Sequence[float] | None
) -> np.ndarray:
    """(rows,) the turns' rewards; where one is `OUTCOME`, the score on the trajectory's last turn, else 0."""
    last: dict[tuple[str, str], int] = {}
    for (uid, session, turn), is_real in zip(parts, real, strict=True):
        if is_real:
            last[uid, session] = max(turn, last.get((uid, session), turn))
    rewards = np.zeros(len(rows))
    for i, ((uid, session, turn), row) in enumerate(zip(parts, rows, strict=True)):
        stated = row.get(row_contract.TURN_REWARD, 0.0)
        key = f"{uid}_{session}_{turn}"
        if not (isinstance(stated, str) and stated == row_contract.OUTCOME):
            rewards[i] = stated_value(key, row_contract.TURN_REWARD, stated)
        elif scores is None:
            raise MissingOutcomeError(
                f"row {key}: {row_contract.TURN_REWARD}={stated!r}, but the batch has no scores; state the reward as a "
                "number"
            )
        else:
            rewards[i] = scores[i] if turn == last[uid, session] else 0.0
    return rewards
