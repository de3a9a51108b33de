# SPDX-License-Identifier: Apache-2.0
"""SIRI's state over a run, beside the policy: the skill bank, the phase, and the plain successes seen.

`siri_verl/training/step.py` calls these methods in the order of an iteration. All of it is deterministic in the run's
seed and the trajectories, and all of it is part of the checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.core.chains import chain_order
from siri_verl.core.curriculum import shows
from siri_verl.core.decisions import Decision
from siri_verl.core.internalization import row_weights
from siri_verl.core.pairing import PLAIN, ArmPlan, TreatmentEffect, treatment_effects
from siri_verl.core.phases import Census, PhaseMachine, PhaseMove
from siri_verl.core.rules import ACTIVE
from siri_verl.runs.folder import CheckpointFolder
from siri_verl.runs.replay import read_replay, write_replay
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import BANK_FILE, load_bank, save_bank
from siri_verl.skills.borrowing import borrow
from siri_verl.skills.mining import Generate, Miner, MiningReport
from siri_verl.skills.pool import SuccessPool
from siri_verl.skills.retrieval import Retriever, best_active
from siri_verl.skills.skill import Skill
from siri_verl.training.discovery import Discovery
from siri_verl.training.gates import GateInput, delta_of_rows, gate_named
from siri_verl.training.planner import PlannedGroup, Planner
from siri_verl.training.replay import Replay
from siri_verl.training.skill_share import shows_skill
from siri_verl.training.source_trajectories import source_trajectories
from siri_verl.training.step_table import StepTable
from siri_verl.training.writer import Writer
from siri_verl.trajectory.failed_tasks import FailedTasks
from siri_verl.trajectory.malformed import STEPS, MalformedReplies
from siri_verl.trajectory.turn import Status

logger = logging.getLogger(__name__)


class Siri:
    """SIRI's state over a run.

    Args:
        settings: the `siri:` block.
        group_size: trajectories per task (rollout.n).
        planner: names the type of each task.
        special_tokens: the tokenizer's, neutralised in bank text.

    Attributes:
        bank: the skills and their evidence.
        machine: the phase.
        pool: recent plain successes, to be mined.
        replay: internalized rows of earlier iterations.
        writer: replies to mining prompts whose skills are being tested (siri.writer).
        mined: rounds of mining so far.
        task_types: task id -> type, of every task met.
        answers: task id -> what solving it comes down to, where the environment states it.
        malformed: stops a run whose first replies are malformed.
        failed: counts tasks that cannot be played, and stops a run with too many of them.
    """

    def __init__(self, settings: SiriSettings, group_size: int, planner: Planner, special_tokens: Sequence[str] = ()):
        self.settings, self.group_size, self.planner = settings, group_size, planner
        self.special_tokens = tuple(special_tokens)
        self.bank = SkillBank(settings.bank, settings.utility, self.special_tokens)
        if settings.initial_bank is not None:
            self.bank = load_bank(settings.initial_bank, settings.bank, settings.utility, self.special_tokens)
        self.machine = PhaseMachine(settings.phases)
        self.retriever = Retriever(settings.retrieval, settings.seed)
        self.discovery = Discovery(settings, group_size)
        self.miner = Miner(settings.mining, settings.seed, settings.mining.miner, self.discovery.words)
        self.pool = SuccessPool(settings.mining.per_type, settings.mining.near_misses)
        self.replay = Replay(settings.internalization, settings.seed)
        self.writer = Writer(settings.writer)
        self.mined = 0
        self.task_types: dict[str, str] = {}
        self.answers: dict[str, tuple[str, ...]] = {}
        share = settings.rollout.max_malformed_share
        self.malformed = MalformedReplies(share, "siri.rollout.max_malformed_share", STEPS)
        share = settings.rollout.max_failed_task_share
        self.failed = FailedTasks(share, "siri.rollout.max_failed_task_share")

    # ---- before the trajectories ---------------------------------------------------------------------------------

    def mining_due(self, step: int) -> bool:
        """Whether skills are mined before this step: when phase 1 begins, or from the first successes of warm-up on
        (`siri.mining.during_warm_up`), then every I_mine steps."""
        early = self.settings.mining.during_warm_up and len(self.pool) > 0
        if not (self.machine.pairs_groups or early) or not self.settings.internalization.has_teacher:
            return False
        return self.mined == 0 or self.miner.due(step)

    def mine(self, generate: Generate, step: int) -> MiningReport:
        """One round: ask for the procedures behind recent plain successes and enter the usable answers."""
        self.mined += 1
        report = self.miner.mine(self.pool, self.bank, step, generate)
        if self.settings.mining.borrow:
            report.borrowed = borrow(self.bank, self.task_types.values(), self.settings.mining.borrow, step)
        return report

    @property
    def arm_plan(self) -> ArmPlan:
        """How a group with a skill is divided into arms in the present phase; without pairing, all are plain."""
        if not self.machine.pairs_groups:
            return ArmPlan(plain=self.group_size, skill=0)
        return ArmPlan.split(self.group_size, self.settings.arms.share(self.machine.internalizes))

    def plan(self, task_ids: Sequence[str], step: int) -> list[PlannedGroup]:
        """Which skill each task's skill arm is shown; none during warm-up, or of a type that the curriculum leaves
        out."""
        curriculum, gaps = self.settings.curriculum, self.bank.gaps(step, self.settings.curriculum)

        def choose(task_type: str, task_id: str) -> Skill | None:
            shown = self.machine.pairs_groups and shows(curriculum, task_type, gaps, step)
            if not shown or not shows_skill(self.settings, self.bank, task_type, task_id, step):
                return None
            return self.retriever.retrieve(self.bank, task_type, step=step, task_id=task_id)

        groups = self.planner.plan(task_ids, step, choose)
        started = [group for group in groups if not group.failed]
        self.task_types.update({group.task_id: group.task_type for group in started})
        self.answers.update({group.task_id: group.answers for group in started})
        for group in groups:
            if group.skill_missing:
                logger.warning("skill %s does not fit into the first prompt of %s", group.skill_missing, group.task_id)
        return groups

    def chained(self, task_ids: Sequence[str], batch: int) -> list[int]:
        """The order of the training tasks in which they form chains of one type (`siri.curriculum.chain_length`)."""
        types = [group.task_type for group in self.planner.plan(task_ids, 0, lambda task_type, task_id: None)]
        return chain_order(types, batch, self.settings.curriculum.chain_length, self.settings.seed)

    def mini_batches(self, step: int) -> int | None:
        """Optimizer steps of an iteration; None: verl's rule."""
        return self.discovery.mini_batches(step, self.machine, self.task_types, self.bank)

    def validation_skills(self, task_ids: list[str]) -> list[Skill | None]:
        """The best active skill of each task's type (control: skills stay in the prompt)."""
        plan = self.planner.plan(task_ids, 0, lambda task_type, task_id: best_active(self.bank, task_type))
        return [group.skill for group in plan]

    # ---- after the trajectories ----------------------------------------------------------------------------------

    def check_episodes(self, table: StepTable) -> None:
        """Count the malformed replies of a step and its tasks that cannot be played.

        Raises:
            MalformedRepliesError: in the first steps of the run hardly any reply is well formed.
            FailedTasksError: too many of the tasks tried so far cannot be played.
        """
        self.malformed.add(int((table.usable & ~table.valid).sum()), int(table.usable.sum()))
        last = table.last_rows()
        for task in set(table.task_id[last].tolist()):
            self.failed.tried(task)
        for i in last:
            if Status.task_failed(str(table.status[i])):
                self.failed.failed(str(table.task_id[i]), str(table.reason[i]) or str(table.status[i]))

    def record_effects(self, table: StepTable, step: int) -> tuple[dict[Hashable, TreatmentEffect], list[Decision]]:
        """Compute Delta_g of every group and record it as evidence about the skill shown.

        A group with a trajectory that lost its environment, or whose skill did not fit into a prompt, has no Delta_g.

        Returns:
            (group -> treatment effect, decisions that follow from the evidence).
        """
        rows = table.take(np.flatnonzero(table.real))
        effects = treatment_effects(
            rows.group.tolist(),
            rows.trajectory.tolist(),
            rows.arm.tolist(),
            rows.skill_id.tolist(),
            rows.trajectory_return,
            success_reward=self.settings.reward.success_reward,
            excluded=~rows.usable | rows.skill_missing,
        )
        task_of = dict(zip(rows.group.tolist(), rows.task_id.tolist(), strict=True))
        return effects, self.bank.record_all(effects.values(), task_of, step)

    def collect_successes(self, table: StepTable, step: int) -> None:
        """Keep the plain successes of a step for mining.

        Args:
            table: the rows of the step, in canonical order.
            step: the training step.
        """
        sources = source_trajectories(table, self.task_types, self.answers, step)
        self.pool.add(sources, {source.trajectory: score for source, score in sources.items()})
        self.discovery.record(table, self.task_types, step)

    def internalization_weights(
        self,
        table: StepTable,
        effects: dict[Hashable, TreatmentEffect],
        advantage: np.ndarray,
        norm: str,
        step: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The gate and the weights of a step's turns.

        Args:
            table: the rows of the step, in canonical order.
            effects: from `record_effects`.
            advantage: (rows,) A.
            norm: how A was normalised (`mean` or `mean_std`); sets the scale of the weights.
            step: the training step.

        Returns:
            (open, weight), both (rows,): whether the gate lets the turn through, and w, by default clip(A / s, 0, c).
        """
        s = self.settings.internalization
        scale, clip = s.scale_and_clip(norm, self.settings.reward.success_reward)
        if s.row_weight == "return":
            advantage = self.replay.recalibrate(table, advantage, norm)
        is_open = gate_named(s.source)(self.gate_input(table, effects, advantage, step), self.settings)
        return is_open, row_weights(advantage, delta_of_rows(table, effects), scale, clip, s)

    def gate_input(
        self, table: StepTable, effects: dict[Hashable, TreatmentEffect], advantage: np.ndarray, step: int
    ) -> GateInput:
        """What the gates decide with; see `internalization_weights`."""
        active = frozenset(name for name, skill in self.bank.skills.items() if skill.status == ACTIVE)
        return GateInput(table, effects, advantage, active, step)

    def coming_lambda(self) -> float:
        """lambda(k) of the update that comes next, without counting it; 0 outside phase 2."""
        if not self.machine.internalizes:
            return 0.0
        return self.settings.internalization.lambda_at(self.machine.updates + 1)

    def next_lambda(self) -> float:
        """Count one update of phase 2 and return its lambda(k); 0 in the other phases."""
        if not self.machine.internalizes:
            return 0.0
        return self.settings.internalization.lambda_at(self.machine.next_update())

    def end_step(self, table: StepTable, step: int) -> PhaseMove | None:
        """Let the phase move, by the tasks solved without a skill and the bank's census."""
        solved = table.usable & (table.arm == PLAIN) & table.success
        return self.machine.end_step(step, table.task_id[solved].tolist(), self.census())

    def census(self) -> Census:
        """Counts of skills by status, and of task types with an active skill."""
        return self.bank.census(set(self.task_types.values()))

    # ---- checkpoint ----------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the bank and the rows to be replayed into a checkpoint folder, and return the rest of the state."""
        save_bank(self.bank, folder / BANK_FILE)
        if self.settings.internalization.replay:
            write_replay(CheckpointFolder(folder).replay, self.replay.rows)
        more: dict[str, Any] = {}
        if self.replay.baseline.groups:
            more["baseline"] = [list(group) for group in self.replay.baseline.groups]
        if self.settings.writer.train:
            more["writer"] = self.writer.to_dict()
        if discovery := self.discovery.to_dict():
            more["discovery"] = discovery
        return {
            "phases": self.machine.to_dict(),
            "task_types": self.task_types,
            "pool": self.pool.to_dict(),
            "mined": self.mined,
            **more,
        }

    def load(self, folder: Path, state: dict[str, Any]) -> None:
        """Restore what a checkpoint folder holds and the state that `save` returned."""
        self.bank = load_bank(folder / BANK_FILE, self.settings.bank, self.settings.utility, self.special_tokens)
        if self.settings.internalization.replay:
            self.replay.rows = read_replay(CheckpointFolder(folder).replay)
        self.machine = PhaseMachine.from_dict(self.settings.phases, state["phases"])
        self.task_types = dict(state["task_types"])
        mining = self.settings.mining
        self.pool = SuccessPool.from_dict(mining.per_type, state["pool"], mining.near_misses)
        self.mined = int(state["mined"])
        if "writer" in state:
            self.writer.load(state["writer"])
        self.replay.baseline.restore(state.get("baseline", ()))
        self.discovery.load(state.get("discovery", {}))
        self.miner.words = self.discovery.words
