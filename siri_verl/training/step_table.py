# SPDX-License-Identifier: Apache-2.0
"""The batch as one typed table: one row per turn, in the order of the batch.

This is the one place that reads TransferQueue's columns: non-tensor columns come back as list subclasses whose items
may be
wrapped, rows arrive in the order episodes happened to finish, and padding rows copy the columns of the first real row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siri_verl.rollout import row_contract

EXCLUDED_STATUSES = frozenset({"environment_lost", "environment_error"})
"""Episodes that ended for a reason that is not the policy's: their rows enter no statistic and get advantage 0."""


class MissingAnchorsError(ValueError):
    """GiGPO was asked for, and rows do not state their anchors."""


class MissingOutcomeError(ValueError):
    """A turn's reward is stated as the outcome, and the reward function's score is not at hand."""


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
    """Rows of a batch. Every array is (rows,); `real` is False on padding rows, whose other columns mean nothing."""

    keys: list[str]
    real: np.ndarray
    group: np.ndarray
    trajectory: np.ndarray
    turn: np.ndarray
    anchor: list[str]
    reward: np.ndarray
    valid: np.ndarray
    reply: np.ndarray
    """Tokens of the reply."""
    columns: dict[str, np.ndarray]
    transcripts: dict[str, tuple[str, list]]
    """Trajectory -> (task text, [(observation, action), ...]), where the loop states it."""

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
        """From row keys, tags and their `extra_fields` column.

        Args:
            keys, tags, extra_fields: of the rows.
            scores: (rows,) the reward function's score of each row's trajectory; needed where a `turn_reward` is
                `OUTCOME`.

        Raises:
            MissingAnchorsError: a real row lacks a required turn field; the message shows the lines to add.
            MissingOutcomeError: a row states `OUTCOME` and `scores` is None.
        """
        fields = plain_fields(extra_fields)
        real = np.array([not tag.get("is_padding", False) for tag in tags], dtype=bool)
        rows = [f if r and isinstance(f, dict) else {} for f, r in zip(fields, real, strict=True)]
        for name in row_contract.REQUIRED:
            missing = [key for key, row, r in zip(keys, rows, real, strict=True) if r and row.get(name) is None]
            if missing:
                raise MissingAnchorsError(
                    row_contract.MISSING_ANCHORS.format(
                        count=len(missing), rows=int(real.sum()), field=name, key=missing[0]
                    )
                )
        parts = [split_key(key) for key in keys]
        reward = _rewards(parts, rows, real, scores)
        return cls(
            keys=list(keys),
            real=real,
            group=np.array([uid for uid, _, _ in parts], dtype=object),
            trajectory=np.array([f"{uid}_{session}" for uid, session, _ in parts], dtype=object),
            turn=np.array([index for _, _, index in parts], dtype=np.int64),
            anchor=[str(row.get(row_contract.ANCHOR, "")) for row in rows],
            reward=reward,
            valid=np.array([bool(row.get(row_contract.VALID, True)) for row in rows]),
            reply=np.array([int(tag.get("response_len", 0)) for tag in tags], dtype=np.int64),
            columns={
                name: np.array(
                    [row.get(name, default) for row in rows], dtype=object if isinstance(default, str) else None
                )
                for name, default in row_contract.OPTIONAL.items()
            },
            transcripts={
                f"{uid}_{session}": (str(row.get("task", "")), row["transcript"])
                for (uid, session, _), row in zip(parts, rows, strict=True)
                if row.get("transcript") is not None
            },
        )

    @classmethod
    def fetch(cls, keys: Sequence[str], tags: Sequence[dict], partition_id: str = "train") -> StepTable:
        """Read the rows' turn fields from TransferQueue."""
        import transfer_queue as tq

        data = tq.kv_batch_get(keys=list(keys), partition_id=partition_id, select_fields=["extra_fields"])
        fields = plain_fields(data["extra_fields"])
        scores = fetch_scores(keys, partition_id) if states_outcome(fields) else None
        return cls.build(keys, tags, fields, scores)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def usable(self) -> np.ndarray:
        """(rows,) bool: real rows of episodes that count."""
        return self.real & ~np.isin(self.columns["status"].astype(str), list(EXCLUDED_STATUSES))

    def span_tokens(self, span: str) -> np.ndarray:
        """(rows,) tokens that internalization would learn of each row: `action`, or the whole `response`."""
        if span == "response":
            return self.reply
        return self["span_end"].astype(int) - self["span_start"].astype(int)

    def take(self, order: Sequence[int]) -> StepTable:
        """The rows at these positions, in this order."""
        index = np.asarray(order, dtype=np.int64)
        return replace(
            self,
            keys=[self.keys[i] for i in index],
            real=self.real[index],
            group=self.group[index],
            trajectory=self.trajectory[index],
            turn=self.turn[index],
            anchor=[self.anchor[i] for i in index],
            reward=self.reward[index],
            valid=self.valid[index],
            reply=self.reply[index],
            columns={name: column[index] for name, column in self.columns.items()},
        )

    def canonical_order(self) -> list[int]:
        """`canonical_order` of this table's rows."""
        return canonical_order(self.keys, dict(zip(self.group, self["task_id"], strict=True)))

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


def plain_fields(extra_fields: Iterable[Any]) -> list[Any]:
    """The items of a batch's `extra_fields` column, without TransferQueue's wrapping."""
    return [getattr(item, "data", item) for item in extra_fields]


def states_outcome(fields: Iterable[Any]) -> bool:
    """Whether any row leaves a turn's reward to the reward function."""
    for row in fields:
        for name in (row_contract.TURN_REWARD, row_contract.LISTS[row_contract.TURN_REWARD]):
            stated = row.get(name) if isinstance(row, dict) else None
            if row_contract.OUTCOME in (stated if isinstance(stated, list) else [stated]):
                return True
    return False


def fetch_scores(keys: Sequence[str], partition_id: str) -> list[float]:
    """(rows,) the reward function's score of each row's trajectory."""
    import transfer_queue as tq

    data = tq.kv_batch_get(keys=list(keys), partition_id=partition_id, select_fields=["rm_scores"])
    return [float(row.sum()) for row in data["rm_scores"].unbind()]


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
        if isinstance(stated, str):
            where = f"row {uid}_{session}_{turn}: {row_contract.TURN_REWARD}={stated!r}"
            if stated != row_contract.OUTCOME:
                raise ValueError(f"{where}: give a number, or {row_contract.OUTCOME!r} for the reward function's score")
            if scores is None:
                raise MissingOutcomeError(f"{where}, but the batch has no scores; state the reward as a number")
            rewards[i] = scores[i] if turn == last[uid, session] else 0.0
        else:
            rewards[i] = float(stated)
    return rewards
