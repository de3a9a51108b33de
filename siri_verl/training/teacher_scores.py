# SPDX-License-Identifier: Apache-2.0
"""The teacher's log-probs of K tokens at each learned token, for soft targets.

They come from a further pass of the actor's workers, before the update, over the rows on the teacher's prompt: those of
the skill arm, or the extra rows of `rows=plain_under_skill`. With `top_k_of=student` a first pass, over the rows on the
student's prompt, finds the K tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.runs.replay import PastRow, decode, encode
from siri_verl.training import queue
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.loss import SETTINGS
from siri_verl.training.queue import RowBatch
from siri_verl.training.soft_targets import GIVEN_IDS, SCORED_IDS, SCORED_LOG_PROBS, SCORING


@dataclass(frozen=True)
class TopTokens:
    """K tokens of the vocabulary at each of some tokens of a reply.

    Attributes:
        ids: (tokens, K) int32; None under target=full, where they are all ids in order.
        log_probs: (tokens, K) float32, the teacher's.
    """

    ids: np.ndarray | None
    log_probs: np.ndarray

    @classmethod
    def of_past(cls, past: PastRow, settings: InternalizationSettings) -> TopTokens | None:
        """The soft targets kept with a row of an earlier iteration; None under target=sampled.

        Raises:
            ValueError: the row was kept with another target.
        """
        if settings.target == "sampled":
            return None
        tokens = past.span[1] - past.span[0]
        log_probs = decode(past.top_log_probs, np.float32, tokens)
        ids = decode(past.top_ids, np.int32, tokens) if settings.target == "top_k" else None
        if not log_probs.size or (ids is not None and ids.shape != log_probs.shape):
            raise ValueError(
                f"siri.internalization.target={settings.target}: a row of step {past.step} was kept for replay without "
                "the log-probs that it needs; resume with the target it was kept with, or set "
                "siri.internalization.replay=0"
            )
        return cls(ids, log_probs)

    def encoded(self) -> dict[str, str]:
        """As fields of `PastRow`."""
        return {"top_ids": "" if self.ids is None else encode(self.ids), "top_log_probs": encode(self.log_probs)}

    def __getitem__(self, part: slice | np.ndarray) -> TopTokens:
        return TopTokens(None if self.ids is None else self.ids[part], self.log_probs[part])


@dataclass(frozen=True)
class Scorer:
    """Passes over rows of a batch.

    Args:
        workers: the actor's worker group.
        config: verl's configuration.
        processor: the model's; None where it takes text alone.
    """

    workers: Any
    config: DictConfig
    processor: Any

    def teacher(
        self,
        batch: RowBatch,
        layout: BatchLayout,
        settings: InternalizationSettings,
        students: Sequence[str],
        teachers: Sequence[str],
        first: Sequence[int],
    ) -> list[TopTokens]:
        """The teacher's log-probs.

        Args:
            batch: the rows of the step; the log-prob passes can divide their number.
            layout: how verl cuts the batch.
            settings: target and K.
            students: (learned,) keys of the rows on the student's prompt.
            teachers: (learned,) keys of the rows on the teacher's prompt.
            first: (learned,) position in the teacher's response of the student's first token.

        Returns:
            (learned,) over the tokens of the teacher's response from `first` on.
        """
        given = None
        if settings.target == "top_k" and settings.top_k_of == "student":
            found = self._score(batch, layout, settings, students)
            given = [(place, top.ids) for place, top in zip(first, found, strict=True)]
        found = self._score(batch, layout, settings, teachers, given)
        return [top[place:] for place, top in zip(first, found, strict=True)]

    def _score(
        self,
        batch: RowBatch,
        layout: BatchLayout,
        settings: InternalizationSettings,
        keys: Sequence[str],
        given: Sequence[tuple[int, np.ndarray]] | None = None,
    ) -> list[TopTokens]:
        """(keys,) a pass over some rows; `given` are positions in their responses and the ids from there on."""
        chosen, unit = set(keys), layout.dp_size * layout.micro_batch
        others = [key for key in batch.keys if key not in chosen]
        # Rows of the batch that are not wanted make up the number that the workers can divide.
        order = [*keys, *others[: -len(keys) % unit]]
        tags = dict(zip(batch.keys, batch.tags, strict=True))
        rows = RowBatch(keys=order, tags=[tags[key] for key in order], partition_id=batch.partition_id)
        rows = queue.tensors_alone(rows, self.processor)
        fields = rows.fields
        if given is not None:
            lengths = [int(tag["response_len"]) for tag in rows.tags]
            rows = queue.put_column(rows, GIVEN_IDS, _spread(given, lengths))
            rows.fields = [*fields, GIVEN_IDS]
        rows.extra_info = {
            **{"calculate_entropy": False, "compute_loss": True, "distillation_use_topk": True},
            **{"distillation_only": True, SCORING: True, SETTINGS: settings},
            "temperature": self.config.actor_rollout_ref.rollout.temperature,
        }
        self.workers.compute_log_prob(rows)
        found = queue.get_columns(list(keys), batch.partition_id, [SCORED_IDS, SCORED_LOG_PROBS])
        ids = found.get(SCORED_IDS, [None] * len(keys))
        lengths = [int(tags[key]["response_len"]) for key in keys]
        return [
            TopTokens(None if i is None else i.view(length, -1).numpy(), values.view(length, -1).numpy())
            for i, values, length in zip(ids, found[SCORED_LOG_PROBS], lengths, strict=True)
        ]


def _spread(given: Sequence[tuple[int, np.ndarray]], lengths: Sequence[int]) -> list[torch.Tensor]:
    """(rows,) flat ids of each row's response; 0 where none are given."""
    number, rows = given[0][1].shape[1], []
    for i, length in enumerate(lengths):
        row = torch.zeros(length, number, dtype=torch.int32)
        if i < len(given):
            place, ids = given[i]
            row[place : place + len(ids)] = torch.from_numpy(ids)
        rows.append(row.flatten())
    return rows
