# SPDX-License-Identifier: Apache-2.0
"""A bounded sample of a run's trajectories on disk, for its readers: `trajectories.jsonl` in the run's folder.

Each validation keeps the same tasks, spread over categories, so that one can see how the policy's way with a task
changes. At the same steps (and in the first) some training groups are kept, one trajectory of each arm. Only the
sample's rows are decoded; the file is written in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from siri_verl.core.pairing import SKILL
from siri_verl.core.seeding import derive_seed
from siri_verl.envs.replies import parse_reply
from siri_verl.settings.schema import SampleSettings
from siri_verl.training import queue
from siri_verl.training.step_table import StepTable, split_key
from siri_verl.trajectory.file import shortened
from siri_verl.trajectory.turn import Trajectory, Turn


class TrajectorySample:
    """Picks and reads trajectories.

    Args:
        settings: how many.
        seed: the run's; picks the tasks.
        tokenizer: decodes replies.
        skill_text: skill id -> its block as it is shown now.
    """

    def __init__(self, settings: SampleSettings, seed: int, tokenizer: Any, skill_text: Callable[[str], str]):
        self.settings, self.seed, self.tokenizer, self.skill_text = settings, seed, tokenizer, skill_text
        self._step, self._left = -1, 0

    def validation(self, keys: Sequence[str], tags: Sequence[dict], step: int) -> list[Trajectory]:
        """The sample of one batch of a validation; several batches share what the settings allow."""
        if step != self._step:
            self._step, self._left = step, self.settings.validation
        first = [i for i, key in enumerate(keys) if split_key(key)[1:] == ("0", 0)]
        if not self._left or not first:
            return []
        heads = StepTable.fetch([keys[i] for i in first], [tags[i] for i in first], "val")
        picked = self._spread(heads, range(len(heads)), self._left)
        self._left -= len(picked)
        sessions = {split_key(heads.keys[i])[:2] for i in picked}
        rows = [i for i, key in enumerate(keys) if split_key(key)[:2] in sessions]
        table = StepTable.fetch([keys[i] for i in rows], [tags[i] for i in rows], "val")
        return self._read(table, "validation", "val", step)

    def training(self, table: StepTable, step: int) -> list[Trajectory]:
        """One trajectory of each arm of some of a step's groups; groups that have both arms come first."""
        first = np.flatnonzero(table.usable & (table.turn == 0))
        by_group: dict[str, dict[str, int]] = {}
        for i in first.tolist():
            by_group.setdefault(table.group[i], {}).setdefault(table.arm[i], i)
        paired = [min(arms.values()) for arms in by_group.values() if SKILL in arms and len(arms) > 1]
        plain = [min(arms.values()) for arms in by_group.values() if min(arms.values()) not in paired]
        picked = self._spread(table, paired, self.settings.training)
        picked += self._spread(table, plain, self.settings.training - len(picked))
        wanted = {table.trajectory[i] for head in picked for i in by_group[table.group[head]].values()}
        rows = [i for i in range(len(table)) if table.real[i] and table.trajectory[i] in wanted]
        return self._read(table.take(rows), "training", "train", step) if rows else []

    def _spread(self, table: StepTable, members: Iterable[int], count: int) -> list[int]:
        """Up to `count` of some rows, one per category in turn; which ones depends on seed and task alone."""
        if count < 1:
            return []
        waiting: dict[str, list[int]] = {}
        for i in sorted(members, key=lambda i: derive_seed(self.seed, "sample", table.task_id[i])):
            waiting.setdefault(str(table.category[i]), []).append(i)
        turns = [(rank, name, i) for name, queue in waiting.items() for rank, i in enumerate(queue)]
        return [i for _, _, i in sorted(turns)[:count]]

    def _read(self, table: StepTable, source: str, partition: str, step: int) -> list[Trajectory]:
        replies = queue.get_texts(table.keys, partition, "responses", self.tokenizer)
        by_trajectory: dict[str, list[int]] = {}
        for i in table.canonical_order():
            by_trajectory.setdefault(table.trajectory[i], []).append(i)
        return [self._trajectory(table, rows, replies, source, step) for rows in by_trajectory.values()]

    def _trajectory(
        self, table: StepTable, rows: list[int], replies: Sequence[str], source: str, step: int
    ) -> Trajectory:
        last, longest = rows[-1], self.settings.max_chars
        task, transcript = table.transcripts.get(table.trajectory[last], ("", None))
        final, explanation = table.endings.get(table.trajectory[last], ("", ""))
        turns = []
        for turn, i in enumerate(rows):
            # A loop without transcripts still states anchors: the observation, for siri_verl's environments.
            seen, done = transcript[turn] if transcript else (table.anchor[i], parse_reply(replies[i]).action)
            turns.append(
                Turn(
                    observation=shortened(str(seen), longest),
                    reply=shortened(replies[i], longest),
                    action=shortened(str(done), longest),
                    reward=float(table.reward[i]),
                    valid=bool(table.valid[i]),
                    admissible=bool(table.admissible[i]),
                    reply_tokens=int(table.reply_tokens[i]),
                    history_dropped=int(table.history_dropped[i]),
                )
            )
        skill_id = str(table.skill_id[last])
        return Trajectory(
            source=source,
            step=step,
            task_id=str(table.task_id[last]),
            task=shortened(task, longest),
            turns=tuple(turns),
            success=bool(table.success[last]),
            score=float(table.score[last]),
            category=str(table.category[last]),
            session=int(split_key(table.keys[last])[1]),
            arm=str(table.arm[last]),
            skill_id=skill_id,
            skill_text=self.skill_text(skill_id) if skill_id else "",
            skill_missing=bool(table.skill_missing[last]),
            status=str(table.status[last]),
            final_observation=shortened(final, longest),
            explanation=shortened(explanation, longest),
        )


def due(step: int, last_step: int, test_freq: int) -> bool:
    """Whether a training step's trajectories are kept: the first, the last, and those verl validates after."""
    return step in (1, last_step) or (test_freq > 0 and step % test_freq == 0)
