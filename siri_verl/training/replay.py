# SPDX-License-Identifier: Apache-2.0
"""Internalized rows of earlier iterations, to be learned again (`siri.internalization.replay`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.return_baseline import ReturnBaseline
from siri_verl.core.seeding import derive_seed
from siri_verl.runs.replay import PastRow
from siri_verl.training.step_table import StepTable


class Replay:
    """The rows of the last `replay_steps` iterations.

    Args:
        settings: how many rows are drawn, of how many iterations back, and how they are weighed.
        seed: of the run; which rows are drawn derives from it.

    Attributes:
        rows: kept rows; under row_weight=return with their return in place of a weight.
        baseline: mean returns of recent groups, for row_weight=return.
    """

    def __init__(self, settings: InternalizationSettings, seed: int):
        self.settings, self.seed = settings, seed
        self.rows: list[PastRow] = []
        self.baseline = ReturnBaseline(settings.baseline_groups)

    def recalibrate(self, table: StepTable, advantage: np.ndarray, norm: str) -> np.ndarray:
        """Add the groups of an iteration to the baseline, and compare its returns with that.

        Args:
            table: the rows of the step.
            advantage: (rows,) A.
            norm: of advantages, `mean` or `mean_std`.

        Returns:
            (rows,) A' where A is positive, else 0.
        """
        last = [i for i in table.last_rows() if table.usable[i]]
        self.baseline.add(table.group[last].tolist(), table.trajectory_return[last].tolist())
        return np.where(advantage > 0, self.baseline.advantages(table.trajectory_return, norm), 0.0)

    def draw(self, step: int, norm: str = "mean") -> list[PastRow]:
        """At most `replay` rows for a training step, at random, in the order in which they were added.

        Args:
            step: the training step.
            norm: of advantages; under row_weight=return rows are weighed anew, and those of weight 0 are not drawn.
        """
        wanted = self.settings.replay
        rows = [row for row in self.rows if step - self.settings.replay_steps <= row.step < step]
        if self.settings.row_weight == "return" and rows:
            found = self.baseline.advantages([row.weight for row in rows], norm) / (self.settings.scale or 1.0)
            weights = np.minimum(found, np.inf if self.settings.clip is None else self.settings.clip)
            rows = [replace(row, weight=float(w)) for row, w in zip(rows, weights, strict=True) if w > 0]
        if len(rows) <= wanted:
            return rows
        rng = np.random.default_rng(derive_seed(self.seed, "replay", step))
        return [rows[i] for i in sorted(rng.choice(len(rows), wanted, replace=False).tolist())]

    def add(self, rows: Sequence[PastRow], step: int) -> None:
        """Keep the rows of a finished step, and drop those that no later step can draw."""
        if self.settings.replay:
            self.rows = [row for row in [*self.rows, *rows] if row.step > step - self.settings.replay_steps]
