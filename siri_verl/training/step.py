# SPDX-License-Identifier: Apache-2.0
"""One iteration of SIRI, from top to bottom.

The methods of `SiriStep` stand in the order in which they are called. verl's trainer plays the trajectories, computes
log-probs and updates the policy in between; `siri_verl/training/trainer.py` maps its hooks to these methods.

    phase   warm-up (0)    skill mining (1)                    internalization (2)
    mine                   every I_mine iterations             the same
    plan    all plain      a plain and a skill arm per group   the same
            -- verl: trajectories --
    read    the turns as one table, in every phase
    record_effects         Delta_g, U(z), decisions            the same
    internalize                                                gate and w; extra rows on plain prompts
            -- verl: log-probs --
    advantages             A = A^E + omega A^S (GiGPO, Eq. 8), in every phase
    weigh                                                      m w / sum m
            -- verl: update with L = L_GiGPO + beta L_KL + lambda(k) L_int --
    next_lambda                                                lambda(k)
    end     the phase may move, in every phase

A step holds everything that lives for one iteration. A value that is used before it is there means that verl calls its
hooks in another order than this code was written for, and raises.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import numpy as np

from siri_verl.core.decisions import Decision
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.settings.read import gigpo_settings
from siri_verl.skills.mining import Generate, MiningReport
from siri_verl.training import console, metrics
from siri_verl.training.advantages import BatchAdvantages, weighing_settings
from siri_verl.training.batch_layout import BatchLayout
from siri_verl.training.internalization_rows import ExtraRows
from siri_verl.training.method import Siri
from siri_verl.training.planner import PlannedGroup
from siri_verl.training.queue import RowBatch
from siri_verl.training.skill_share import group_share
from siri_verl.training.step_table import StepTable
from siri_verl.training.step_teacher import StepTeacher
from siri_verl.training.teacher_scores import Scorer
from siri_verl.training.writer import WriterRows, WrittenReply

T = TypeVar("T")


class StepOrderError(RuntimeError):
    """verl called its hooks in another order than expected."""


class SiriStep:
    """One iteration.

    Args:
        siri: the state over the run.
        number: the training step, counted from 1.
        algorithm: verl's `algorithm` block.

    Attributes:
        metrics: of the step, until `take_metrics`.
        task_of: uid of a group -> task id.
        effects: group -> treatment effect.
        decisions: changes of skills' status that followed from this step's evidence.
        teacher: the rows of internalization.
        writer_rows: replies of the skill writer in the batch; None where it does not learn.
    """

    def __init__(self, siri: Siri, number: int, algorithm: Any):
        self.siri, self.number, self.algorithm = siri, number, algorithm
        self.settings = siri.settings
        self.metrics: dict[str, float] = {}
        self.task_of: dict[str, str] = {}
        self.effects: dict[Hashable, TreatmentEffect] = {}
        self.decisions: list[Decision] = []
        self.teacher = StepTeacher(siri, number)
        self.writer_rows: WriterRows | None = None
        self._table: StepTable | None = None
        self._rows: int | None = None
        self._layout: BatchLayout | None = None
        self._weighing: BatchAdvantages | None = None

    # ---- before the trajectories ---------------------------------------------------------------------------------

    def mine(self, generate: Generate, replies: Callable[[], Sequence[WrittenReply | None]] = list) -> MiningReport:
        """Phase 1: the current policy writes skills from its own plain successes.

        Args:
            generate: prompts -> answers.
            replies: the answers as tokens; none where another model wrote them.
        """
        report = self.siri.mine(generate, self.number)
        if self.settings.writer.train:
            known = replies()
            self.siri.writer.wrote({name: reply for name, i in report.written.items() if (reply := known[i])})
        console.print_mining(report, self.siri.retriever.plans(self.siri.bank))
        self.metrics |= {f"siri/mining/{name}": value for name, value in report.metrics().items()}
        return report

    def plan(self, uids: Sequence[str], task_ids: Sequence[str]) -> list[PlannedGroup]:
        """Choose the skill that each group's skill arm is shown; None: the whole group is plain.

        Args:
            uids: of the groups.
            task_ids: the task of each.
        """
        self.task_of |= dict(zip(uids, task_ids, strict=True))
        groups = self.siri.plan(task_ids, self.number)
        if self.settings.arms.share_by_gap:
            shares = [group_share(self.settings, self.siri.bank, group.task_type) for group in groups]
            self.metrics["siri/group_share"] = float(np.mean(shares))
        self.metrics["siri/skill_dropped_groups"] = float(sum(bool(group.skill_missing) for group in groups))
        return groups

    def explored_sessions(self, groups: Sequence[PlannedGroup]) -> list[int]:
        """(groups,) how many sessions of each are sampled at `siri.exploration.temperature`."""
        explored = self.siri.discovery.exploring_sessions(groups, self.siri.bank, self.number)
        if self.settings.exploration.temperature is not None:
            self.metrics["siri/explored_groups"] = float(np.count_nonzero(explored))
        return explored

    # ---- after the trajectories ----------------------------------------------------------------------------------

    def read(self, keys: Sequence[str], tags: Sequence[dict], partition_id: str) -> None:
        """Read the turns of the batch.

        Args:
            keys, tags: of the rows, in canonical order and without padding.
            partition_id: `train`.

        Raises:
            MalformedRepliesError, FailedTasksError: see `Siri.check_episodes`.
        """
        self.table = StepTable.fetch(keys, tags, partition_id)
        self.siri.check_episodes(self.table)
        self.metrics |= metrics.rollout_metrics(self.table)
        if self.siri.failed.reasons:
            self.metrics["siri/failed_tasks"] = float(len(self.siri.failed.reasons))

    def record_effects(self) -> None:
        """Phases 1 and 2: Delta_g of every paired group is evidence about its skill, which is promoted or retired.

        Plain successes are kept for mining, in every phase.
        """
        self.effects, self.decisions = self.siri.record_effects(self.table, self.number)
        console.print_decisions(self.decisions, self.number, self.siri.bank)
        console.warn_excluded(self.table, self.effects, self.number)
        self.siri.collect_successes(self.table, self.number)
        self.metrics |= metrics.effect_metrics(self.table, self.effects, self.settings.internalization.span)
        self.metrics["siri/decisions"] = float(len(self.decisions))

    def add_writer_rows(self, batch: RowBatch) -> RowBatch:
        """Add the replies of the skill writer whose reward is known now (`siri.writer`).

        Args:
            batch: policy rows, balanced and padded according to `layout`.
        """
        self.writer_rows = WriterRows(self.siri.writer.rewarded(self.siri.bank, self.number))
        self.metrics |= {f"siri/writer/{name}": value for name, value in self.writer_rows.metrics.items()}
        return self.writer_rows.append(batch, self.layout)

    def internalize(self, batch: RowBatch) -> RowBatch:
        """Phase 2: the gate selects turns of helpful skill trajectories; they join the batch on their plain prompts.

        Args:
            batch: policy rows, balanced and padded according to `layout`.

        Returns:
            The batch with the extra rows.
        """
        # In the order of the batch, so that the estimator can use the same numbers.
        self._weighing = BatchAdvantages.compute(
            self.table.aligned_to(batch.keys, batch.tags), weighing_settings(self.algorithm)
        )
        return self.teacher.add_rows(batch, self.table, self.effects, self._weighing, self.layout)

    # ---- after the log-probs -------------------------------------------------------------------------------------

    def advantages(self, batch: RowBatch) -> np.ndarray | None:
        """GiGPO advantages for verl's estimator: (rows, 1), in the order of the batch; 0 on padding and extra rows.

        They are computed once per step: those that weight internalized turns are used again, unless
        `algorithm.gigpo.arms=separate` asks for statistics within each arm, which weighing never uses.

        Returns:
            None where `algorithm.adv_estimator` is not gigpo: verl then runs another estimator.
        """
        if self.algorithm.adv_estimator != "gigpo":
            return None
        settings, found = gigpo_settings(self.algorithm), self._weighing
        if found is None or found.settings != settings:
            found = BatchAdvantages.compute(self.table.aligned_to(batch.keys, batch.tags), settings)
        self.metrics |= metrics.advantage_metrics(found.result, found.table)
        return found.of_rows(batch.keys)[:, None]

    def weigh(self, batch: RowBatch, scorer: Scorer) -> RowBatch:
        """Phase 2: add the column m w / sum m, which needs the log-probs of the extra rows, or change the advantages.

        Args:
            batch: with `old_log_probs` and `advantages`.
            scorer: passes of the workers that soft targets need.

        Returns:
            The batch of the policy's update.
        """
        if self.writer_rows is not None:
            batch = self.writer_rows.put_advantages(batch)
        if self._weighing is None:
            return batch
        batch = self.teacher.weigh(batch, self.table, self._weighing, self.layout, scorer)
        self.metrics |= {f"siri/internalization/{name}": value for name, value in self.teacher.metrics.items()}
        return batch

    def next_lambda(self) -> float:
        """lambda(k) of this update; 0 outside phase 2. Counts the update."""
        weight = self.siri.next_lambda()
        self.metrics["siri/internalization/lambda"] = weight
        self.metrics["siri/internalization/rows_added"] = float(len(self.extra.added) if self.extra else 0)
        return weight

    # ---- after the update ----------------------------------------------------------------------------------------

    def end(self) -> None:
        """Let the phase move: by the tasks solved without a skill, the bank's census, or the number of steps."""
        self.metrics |= metrics.phase_metrics(self.siri.machine, self.siri.census())
        move = self.siri.end_step(self.table, self.number)
        if move is not None:
            console.print_move(move)

    # ---- what one call leaves to a later one ---------------------------------------------------------------------

    def take_metrics(self) -> dict[str, float]:
        """The metrics that were not taken before."""
        taken, self.metrics = self.metrics, {}
        return taken

    @property
    def extra(self) -> ExtraRows | None:
        """Internalization rows in the batch; None outside phase 2."""
        return self.teacher.extra

    @extra.setter
    def extra(self, extra: ExtraRows | None) -> None:
        self.teacher.extra = extra

    @property
    def table(self) -> StepTable:
        """The turns of the batch, in canonical order and without padding."""
        return self._known(self._table, "the table of turns", "_balance_batch reads the trajectories")

    @table.setter
    def table(self, table: StepTable) -> None:
        self._table = table

    @property
    def rows(self) -> int:
        """Turns in the batch, without padding."""
        return self._known(self._rows, "the number of rows", "_balance_batch comes before all that needs sizes")

    @rows.setter
    def rows(self, rows: int) -> None:
        self._rows = rows

    @property
    def layout(self) -> BatchLayout:
        """How verl will cut the batch."""
        return self._known(self._layout, "the batch layout", "_balance_batch calls _get_required_batch_multiple back")

    @layout.setter
    def layout(self, layout: BatchLayout) -> None:
        self._layout = layout

    def _known(self, value: T | None, name: str, expected: str) -> T:
        if value is None:
            raise StepOrderError(
                f"step {self.number}: {name} is used before it is there. Expected of verl's trainer: {expected}. "
                "Compare verl's PPOTrainer._step_once with siri_verl/training/trainer.py (siri-verl doctor)"
            )
        return value
