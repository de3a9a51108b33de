# SPDX-License-Identifier: Apache-2.0
"""The token teacher of one iteration: the rows it adds to the batch, and what it makes of their log-probs.

- `skill_on_plain`: the extra rows' log-probs are those of the plain policy. The columns of the loss are theirs; they
  are part of the policy's update, or have optimizer steps of their own (`alone`).
- `plain_under_skill`: the extra rows' log-probs are the teacher's. The policy rows themselves carry the columns, or get
  other advantages.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.training import console
from siri_verl.training.advantages import BatchAdvantages
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.gates import delta_of_rows, plain_turns
from siri_verl.training.internalization_rows import ExtraRows, append
from siri_verl.training.internalization_weights import LearnedRows, past_rows, plain_rows_of, put_weights
from siri_verl.training.method import Siri
from siri_verl.training.queue import RowBatch
from siri_verl.training.scored_rows import ScoredRows, append_scored, change_advantages, own_rows_of
from siri_verl.training.selection import select
from siri_verl.training.step_table import StepTable
from siri_verl.training.teacher_scores import Scorer


class StepTeacher:
    """The token teacher of one iteration.

    Args:
        siri: the state over the run.
        number: the training step.

    Attributes:
        extra: internalization rows in the batch; None outside phase 2.
        scored: plain turns that are scored under a skill; None where none are.
        alone: the batch of the optimizer steps that are internalization's own; None where there are none.
        metrics: of the rows and their log-probs.
    """

    def __init__(self, siri: Siri, number: int):
        self.siri, self.number = siri, number
        self.settings = siri.settings.internalization
        self.extra: ExtraRows | None = None
        self.scored: ScoredRows | None = None
        self.alone: RowBatch | None = None
        self.metrics: dict[str, float] = {}
        self._left_out: dict[str, dict] = {}

    def add_rows(
        self,
        batch: RowBatch,
        table: StepTable,
        effects: Mapping[Hashable, TreatmentEffect],
        weighing: BatchAdvantages,
        layout: BatchLayout,
    ) -> RowBatch:
        """Add the rows whose log-probs are needed.

        Args:
            batch: policy rows, balanced and padded according to `layout`.
            table: the rows of the step.
            effects: group -> treatment effect.
            weighing: the advantages that weigh rows.
            layout: how verl will cut the batch.
        """
        s, siri = self.settings, self.siri
        advantage = weighing.of_rows(table.keys)
        is_open, weight = siri.internalization_weights(
            table, dict(effects), advantage, weighing.settings.norm, self.number
        )
        if s.rows != "plain_under_skill":
            steps, past = s.steps or layout.optimizer_steps, siri.replay.draw(self.number, weighing.settings.norm)
            batch, self.extra = append(batch, table, select(table, is_open, weight, steps, s.span, past), s, layout)
        if s.rows != "skill_on_plain":
            is_open = plain_turns(siri.gate_input(table, dict(effects), advantage, self.number), siri.settings)
            delta = delta_of_rows(table, effects)
            batch, self.scored = append_scored(batch, table, is_open, weight, delta, layout)
        return batch

    def weigh(
        self, batch: RowBatch, table: StepTable, weighing: BatchAdvantages, layout: BatchLayout, scorer: Scorer
    ) -> RowBatch:
        """Add the columns of the loss, or change the advantages.

        Args:
            batch: with `old_log_probs` and `advantages`.
            table, weighing, layout: as for `add_rows`.
            scorer: passes of the workers that soft targets need.

        Returns:
            The batch of the policy's update; rows that are in no update of the policy's are left out.
        """
        s = self.settings
        if s.role != "loss" or s.replaces_policy:
            reward, coefficient = self.siri.settings.reward.success_reward, self.siri.coming_lambda()
            norm = weighing.settings.norm
            batch, found = change_advantages(batch, self.scored, table, s, coefficient, norm, reward)
            self.metrics |= found
        learned = self._learned(self._policy_batch(batch), table, layout)
        if learned is None:
            return self._policy_batch(batch)
        if s.target != "sampled":
            learned = self._with_targets(learned, batch, layout, scorer)
        alone = self.extra is not None and bool(self.extra.alone)
        steps = s.steps if alone else layout.optimizer_steps
        policy_tokens = int(table.span_tokens(s.span)[table.usable].sum())
        batch, column = put_weights(batch, learned, s, steps, policy_tokens)
        self.metrics |= column.metrics
        if column.metrics.get("deciding_tokens") == 0:
            console.warn_no_deciding_token(self.number)
        if s.replay:
            self.metrics["rows_replayed"] = float(len(self.extra.selection.past))
            # A weight that is computed anew at each replay needs the return.
            kept = table.trajectory_return[self.extra.selection.rows] if s.row_weight == "return" else learned.weight
            self.siri.replay.add(past_rows(self.extra, learned, batch.partition_id, self.number, kept), self.number)
        if alone:
            self.alone = batch.select_keys(self.extra.alone)
        return self._policy_batch(batch)

    def _policy_batch(self, batch: RowBatch) -> RowBatch:
        """The batch without rows that are in no update of the policy's."""
        out = {*(self.extra.alone if self.extra else ()), *(self.scored.added if self.scored else ())}
        if not out:
            return batch
        self._left_out = {key: tag for key, tag in zip(batch.keys, batch.tags, strict=True) if key in out}
        return batch.select_keys([key for key in batch.keys if key not in out])

    def _learned(self, batch: RowBatch, table: StepTable, layout: BatchLayout) -> LearnedRows | None:
        """The rows of the term of the loss; None where there are none."""
        parts = []
        if self.extra is not None and self.extra.added:
            parts.append(plain_rows_of(self.extra, table, self.settings, batch.partition_id))
        if self.scored is not None and len(self.scored.rows) and self.settings.role == "loss":
            parts.append(own_rows_of(batch, self.scored, table, self.settings, layout))
        return sum(parts[1:], parts[0]) if parts else None

    def _with_targets(self, learned: LearnedRows, batch: RowBatch, layout: BatchLayout, scorer: Scorer) -> LearnedRows:
        """The soft targets of this iteration's rows of a positive weight."""
        new = [i for i, key in enumerate(learned.teacher_keys) if key is not None and learned.weight[i] > 0]
        if not new:
            return learned
        students, teachers = ([str(keys[i]) for i in new] for keys in (learned.keys, learned.teacher_keys))
        found = scorer.teacher(batch, layout, self.settings, students, teachers, learned.first[new].tolist())
        top = list(learned.top)
        for i, tokens in zip(new, found, strict=True):
            top[i] = tokens[slice(*learned.span[i])]
        return replace(learned, top=top)

    @property
    def extra_in_policy(self) -> int:
        """Internalization rows in the policy's update."""
        return len(self.extra.added) if self.extra is not None and not self.extra.alone else 0

    def with_left_out(self, batch: RowBatch) -> RowBatch:
        """The batch with the rows that were in no update of the policy's: verl's row store is to forget them too."""
        if not self._left_out:
            return batch
        keys, tags = [*batch.keys, *self._left_out], [*batch.tags, *self._left_out.values()]
        return RowBatch(keys=keys, tags=tags, partition_id=batch.partition_id)
