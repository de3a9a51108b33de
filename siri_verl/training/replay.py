# SPDX-License-Identifier: Apache-2.0
"""Internalized rows of earlier iterations, to be learned again (`siri.internalization.replay`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.seeding import derive_seed
from siri_verl.runs.replay import PastRow


class Replay:
    """The rows of the last `replay_steps` iterations.

    Args:
        settings: how many rows are drawn, of how many iterations back.
        seed: of the run; which rows are drawn derives from it.
    """

    def __init__(self, settings: InternalizationSettings, seed: int):
        self.settings, self.seed = settings, seed
        self.rows: list[PastRow] = []

    def draw(self, step: int, weigh: Callable[[list[float]], Sequence[float]] | None = None) -> list[PastRow]:
        """At most `replay` rows for a training step, at random, in the order in which they were added.

        Args:
            step: the training step.
            weigh: returns -> weights, where rows were kept with their returns; rows of weight 0 are not drawn.
        """
        wanted = self.settings.replay
        rows = [row for row in self.rows if step - self.settings.replay_steps <= row.step < step]
        if weigh is not None:
            weights = weigh([row.weight for row in rows]) if rows else []
            rows = [replace(row, weight=float(w)) for row, w in zip(rows, weights, strict=True) if w > 0]
        if len(rows) <= wanted:
            return rows
        rng = np.random.default_rng(derive_seed(self.seed, "replay", step))
        return [rows[i] for i in sorted(rng.choice(len(rows), wanted, replace=False).tolist())]

    def add(self, rows: Sequence[PastRow], step: int) -> None:
        """Keep the rows of a finished step, and drop those that no later step can draw."""
        if self.settings.replay:
            self.rows = [row for row in [*self.rows, *rows] if row.step > step - self.settings.replay_steps]
