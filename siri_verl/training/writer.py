# SPDX-License-Identifier: Apache-2.0
"""The skill writer learns: each reply that became a skill is rewarded with the skill's measured effect.

    reward  mean Delta of the skill's first `groups` paired groups
    A       clip((reward - mean) / std, -clip, clip), over the last `window` rewards

The reply joins the batch of the iteration in which its reward is known, as a row of its own with advantage A, and
verl's policy loss learns it. None is learned during the warm-up, or while rewards do not differ. Sources: the z-score,
its clip and the warm-up of UCOB d38292c; reward by what the written skill did of Fanzy27/Evolving-RL 3049822.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from siri_verl.core.rules import CANDIDATE
from siri_verl.settings.writer import WriterSettings
from siri_verl.skills.bank import SkillBank
from siri_verl.training import queue
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.internalization_rows import add_rows, reply_on, with_tag
from siri_verl.training.queue import RowBatch
from siri_verl.training.selection import Selection, deal_rows


@dataclass(frozen=True)
class WrittenReply:
    """A reply of the policy that became a skill.

    Attributes:
        prompt: token ids of the mining prompt.
        response: token ids of the reply.
        log_probs: of its tokens, when it was sampled.
    """

    prompt: list[int]
    response: list[int]
    log_probs: list[float]


class Writer:
    """Replies whose skills are being tested, and the rewards of earlier ones.

    Args:
        settings: when and how a reply is rewarded.
    """

    def __init__(self, settings: WriterSettings):
        self.settings = settings
        self.waiting: dict[str, WrittenReply] = {}
        self.rewards: deque[float] = deque(maxlen=settings.window)

    def wrote(self, replies: Mapping[str, WrittenReply]) -> None:
        """Keep the replies of a round of mining: id of the skill -> the reply."""
        if self.settings.train:
            self.waiting |= replies

    def rewarded(self, bank: SkillBank, step: int) -> list[tuple[WrittenReply, float]]:
        """The replies whose reward is known now, with their advantages. They are forgotten.

        Args:
            bank: after the step's evidence.
            step: the training step.
        """
        s = self.settings
        measured = {
            skill_id: bank[skill_id].state.deltas
            for skill_id in self.waiting
            if len(bank[skill_id].state.deltas) >= s.groups or _ended(bank, skill_id)
        }
        found = [
            (self.waiting.pop(skill_id), float(np.mean(deltas[: s.groups]))) for skill_id, deltas in measured.items()
        ]
        self.rewards.extend(reward for _, reward in found)
        spread = float(np.std(self.rewards)) if self.rewards else 0.0
        if step <= s.warm_up_steps or spread == 0:
            return []
        mean = float(np.mean(self.rewards))
        return [(reply, float(np.clip((reward - mean) / spread, -s.clip, s.clip))) for reply, reward in found]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"waiting": {name: vars(reply) for name, reply in self.waiting.items()}, "rewards": list(self.rewards)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned."""
        self.waiting = {name: WrittenReply(**reply) for name, reply in state["waiting"].items()}
        self.rewards = deque(state["rewards"], maxlen=self.settings.window)


def _ended(bank: SkillBank, skill_id: str) -> bool:
    """Whether a tested skill is shown no more."""
    skill = bank[skill_id]
    return bool(skill.state.deltas) and skill.status not in (CANDIDATE, "active")


class WriterRows:
    """The replies of an iteration as rows of its batch.

    Args:
        replies: with their advantages.

    Attributes:
        added: every key added to the batch.
    """

    def __init__(self, replies: Sequence[tuple[WrittenReply, float]]):
        self.replies = list(replies)
        self.keys: list[str | None] = []
        self.added: list[str] = []

    def append(self, batch: RowBatch, layout: BatchLayout) -> RowBatch:
        """Add a row for each reply, and filler so that every rank and optimizer step has as many.

        Args:
            batch: policy rows, balanced and padded according to `layout`.
            layout: how verl will cut the batch.
        """
        if not self.replies:
            return batch
        tags = dict(zip(batch.keys, batch.tags, strict=True))
        real = next(key for key, tag in tags.items() if not tag.get("is_padding", False))
        (template,) = queue.get_rows([real], batch.partition_id)
        lengths = [len(reply.response) for reply, _ in self.replies]
        steps = deal_rows(lengths, layout.optimizer_steps)
        selection = Selection(np.arange(len(lengths)), np.ones(len(lengths)), steps)

        def content(i: int, uid: str) -> tuple[dict[str, Any], dict[str, Any]]:
            reply = self.replies[i][0]
            response = torch.tensor(reply.response, dtype=template["responses"].dtype)
            row = reply_on(template, torch.tensor(reply.prompt, dtype=torch.int64), response, uid)
            row.update(response_mask=torch.ones_like(response), loss_mask=torch.ones_like(response))
            if "rollout_log_probs" in row:
                row["rollout_log_probs"] = torch.tensor(reply.log_probs, dtype=template["rollout_log_probs"].dtype)
            return with_tag(row, tags[real])

        placed = np.ones(len(lengths), dtype=bool)
        batch, self.keys, _, self.added = add_rows(batch, selection, placed, content, layout, whole=False)
        return batch

    def put_advantages(self, batch: RowBatch) -> RowBatch:
        """Set the column `advantages` of the replies' rows.

        Args:
            batch: with `advantages`.
        """
        if not self.replies:
            return batch
        position = {key: i for i, key in enumerate(batch.keys)}
        values = list(queue.get_columns(batch.keys, batch.partition_id, ["advantages"])["advantages"])
        for key, (_, advantage) in zip(self.keys, self.replies, strict=True):
            place = position[str(key)]
            values[place] = torch.full_like(values[place], advantage)
        return queue.put_column(batch, "advantages", values)

    @property
    def metrics(self) -> dict[str, float]:
        """How many replies were learned, and the mean size of their advantages."""
        if not self.replies:
            return {}
        return {"rows": float(len(self.replies)), "advantage_abs": float(np.mean([abs(a) for _, a in self.replies]))}
