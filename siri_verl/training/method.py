# SPDX-License-Identifier: Apache-2.0
"""What SIRI keeps over a run, beside the policy: the bank, the phase, and what was seen.

The trainer calls, in every step: `plan` (which skill is shown to which group), `learn` (treatment effects into
evidence and decisions), `select` (which turns are internalized) and `end_step` (the phase may move); and `mine`
whenever it is due. All of it is deterministic in the run's seed and the episodes, and all of it is in the checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.core.gate import advantage_weights, open_rows, self_imitation_rows
from siri_verl.core.pairing import PLAIN, SKILL, ArmPlan, TreatmentEffect, effect_rows, treatment_effects
from siri_verl.core.phases import PhaseMachine, PhaseMove
from siri_verl.core.seeding import derive_seed
from siri_verl.core.utility import ACTIVE, Decision
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import BANK_FILE, load_bank, save_bank
from siri_verl.skills.mining import Miner, MiningReport
from siri_verl.skills.pool import Episode, SuccessPool
from siri_verl.skills.retrieval import Retriever, best_active
from siri_verl.skills.skill import Skill
from siri_verl.training.console import say_decisions, say_mining
from siri_verl.training.planner import PlannedGroup, Planner
from siri_verl.training.step_table import StepTable

logger = logging.getLogger(__name__)


class SkillRun:
    """SIRI's state over a run.

    Args:
        settings: the `siri:` block.
        group_size: sessions per task (rollout.n).
        norm: how advantages are normalised (`mean` or `mean_std`); sets the scale of the weights.
        planner: names the type of each task.
        special_tokens: the tokenizer's, neutralised in bank text.
    """

    def __init__(
        self,
        settings: SiriSettings,
        group_size: int,
        norm: str,
        planner: Planner,
        special_tokens: Sequence[str] = (),
    ):
        self.settings, self.group_size, self.norm, self.planner = settings, group_size, norm, planner
        self.special_tokens = tuple(special_tokens)
        self.bank = SkillBank(settings.bank, settings.utility, self.special_tokens)
        if settings.initial_bank is not None:
            self.bank = load_bank(settings.initial_bank, settings.bank, settings.utility, self.special_tokens)
        self.machine = PhaseMachine(settings.phases)
        self.retriever = Retriever(settings.retrieval, settings.seed)
        self.miner = Miner(settings.mining, settings.seed, settings.mining.miner)
        self.pool = SuccessPool(settings.mining.per_type)
        self.mined = 0
        """Rounds of mining so far."""
        self.task_types: dict[str, str] = {}
        """Task id -> type, of every task met."""
        self.answers: dict[str, tuple[str, ...]] = {}
        """Task id -> what solving it comes down to, as far as the environment says."""
        self.effects: dict[Any, TreatmentEffect] = {}

    # ---- a step --------------------------------------------------------------------------------------------------

    @property
    def arm_plan(self) -> ArmPlan:
        """How groups are dealt to the arms in the present phase; any size is plain until arms are compared."""
        if not self.machine.pairs_groups:
            return ArmPlan(plain=self.group_size, skill=0)
        return ArmPlan.split(self.group_size, self.settings.arms.share(self.machine.internalizes))

    def mining_due(self, step: int) -> bool:
        """Whether skills are to be mined before this step: at once when pairing begins, then every I_mine steps."""
        if not self.machine.pairs_groups or self.settings.internalization.source != "skill":
            return False
        return self.mined == 0 or self.miner.due(step)

    def mine(self, generate: Generate, step: int) -> MiningReport:
        """One round: ask the miner about the policy's recent plain successes and enter what can be used."""
        self.mined += 1
        report = self.miner.mine(self.pool, self.bank, step, generate)
        say_mining(report, self.retriever.plans(self.bank))
        return report

    def plan(self, task_ids: Sequence[str], step: int) -> list[PlannedGroup]:
        """The step's groups; all plain during warm-up."""

        def choose(task_type: str, task_id: str) -> Skill | None:
            if not self.machine.pairs_groups:
                return None
            return self.retriever.retrieve(self.bank, task_type, step=step, task_id=task_id)

        groups = self.planner.plan(task_ids, step, choose)
        self.task_types.update({group.task_id: group.task_type for group in groups})
        self.answers.update({group.task_id: group.answers for group in groups})
        for group in groups:
            if group.dropped:
                logger.warning("skill %s does not fit into the first prompt of %s", group.dropped, group.task_id)
        return groups

    def validation_skills(self, task_ids: list[str]) -> list[Skill | None]:
        """The best active skill of each task's type (control: skills kept in the prompt)."""
        plan = self.planner.plan(task_ids, 0, lambda task_type, task_id: best_active(self.bank, task_type))
        return [group.skill for group in plan]

    def next_lambda(self) -> float:
        """Count one update of the internalization phase and return its lambda."""
        return self.settings.internalization.lambda_at(self.machine.next_update())

    def learn(self, table: StepTable, step: int) -> tuple[list[Decision], dict[str, float]]:
        """Treatment effects of a step's groups, taken into the bank.

        Returns:
            (decisions taken, metrics).
        """
        rows = table.take(np.flatnonzero(table.real))
        spoiled = ~rows.usable | rows.skill_missing
        self.effects = treatment_effects(
            rows.group.tolist(),
            rows.trajectory.tolist(),
            rows.arm.tolist(),
            rows.skill_id.tolist(),
            rows.trajectory_return,
            success_reward=self.settings.reward.success_reward,
            excluded=spoiled,
        )
        task_of = dict(zip(rows.group.tolist(), rows.task_id.tolist(), strict=True))
        decisions = self.bank.record_all(self.effects.values(), task_of, step)
        say_decisions(decisions, step)
        return decisions, {**self._effect_metrics(rows), "siri/excluded_groups": self._excluded(rows, task_of, step)}

    def _excluded(self, rows: StepTable, task_of: dict[Any, str], step: int) -> float:
        """How many paired groups have no treatment effect because an episode was spoiled; each is named with why."""
        unfitting = set(rows.group[rows.skill_missing].tolist())
        excluded = [effect for effect in self.effects.values() if effect.skill_id and effect.undefined == "excluded"]
        for effect in excluded:
            why = "the skill does not fit into a later prompt" if effect.group in unfitting else "an episode was lost"
            task = task_of[effect.group]
            logger.warning("step %d: no treatment effect of %s on %s: %s", step, effect.skill_id, task, why)
        return float(len(excluded))

    def select(self, table: StepTable, advantage: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The gate's row factors and the weights.

        Args:
            table: the step's rows.
            advantage: (rows,) A of each.
            step: seeds the self-imitation control.

        Returns:
            (open, weight), both (rows,).
        """
        s = self.settings.internalization
        scale, clip = s.scale_and_clip(self.norm, self.settings.reward.success_reward)
        weight = advantage_weights(advantage, scale, clip, s)
        plain = table.usable & (table.arm == PLAIN) & table.valid
        if s.source == "self_imitation":
            target = self.settings.control.self_imitation_tokens
            seed = derive_seed(self.settings.seed, "self_imitation", step)
            return self_imitation_rows(plain, advantage, table.span_tokens(s.span), target, seed), weight
        shown = table.usable & (table.arm == SKILL) & ~table.skill_missing
        delta = effect_rows(table.group.tolist(), self.effects) if self.effects else np.full(len(table), np.nan)
        active = [bool(i) and self.bank[i].status == ACTIVE for i in table.skill_id.tolist()]
        return open_rows(shown, delta, active, s), weight

    def remember(self, table: StepTable, transcripts: dict[str, tuple[str, list]], step: int) -> None:
        """Keep the plain successes of a step for mining.

        Args:
            table: the step's rows, in canonical order.
            transcripts: trajectory -> (task text, [(observation, action), ...]).
            step: the training step.
        """
        episodes = []
        for i in table.last_rows():
            task_id, name = str(table.task_id[i]), str(table.trajectory[i])
            task, turns = transcripts[name]
            # Row keys hold random ids; a name made of step, task and session is the same in every run.
            session = name.rsplit("_", 1)[1]
            episodes.append(
                Episode(
                    task_id=task_id,
                    task=task,
                    task_type=self.task_types[task_id],
                    trajectory=f"{step}/{task_id}/{session}",
                    step=step,
                    turns=tuple((str(o), str(a)) for o, a in turns),
                    success=bool(table.success[i]) and bool(table.usable[i]),
                    arm=str(table.arm[i]),
                    answers=self.answers.get(task_id, ()),
                )
            )
        self.pool.add(episodes)

    def end_step(self, table: StepTable, step: int) -> PhaseMove | None:
        """Let the phase move after a step; the bank's census decides."""
        solved = table.usable & (table.arm == PLAIN) & table.success
        return self.machine.end_step(step, table.task_id[solved].tolist(), self.census())

    # ---- what it says --------------------------------------------------------------------------------------------

    def census(self):
        """The bank in numbers, beside the task types met so far."""
        return self.bank.census(set(self.task_types.values()))

    def metrics(self) -> dict[str, float]:
        """Phase and bank."""
        census = self.census()
        return {
            "siri/phase": float(self.machine.index),
            "siri/phase_steps": float(self.machine.steps),
            "siri/bank/candidate": float(census.candidate),
            "siri/bank/active": float(census.active),
            "siri/bank/retired": float(census.retired),
            "siri/bank/task_types": float(census.types),
            "siri/bank/active_types": float(census.active_types),
        }

    def _effect_metrics(self, rows: StepTable) -> dict[str, float]:
        deltas = np.array([effect.delta for effect in self.effects.values() if effect.defined])
        in_arm = rows.arm == SKILL
        metrics = {
            "siri/skill_row_share": float(in_arm.mean()),
            "siri/paired_groups": float(len(deltas)),
            "siri/skill_missing_share": float(rows.skill_missing.mean()),
        }
        metrics |= self._gate_counts(rows)
        success = rows.success.astype(float)
        for name, members in (("plain", ~in_arm), ("skill", in_arm)):
            last = [i for i in rows.last_rows() if members[i] and rows.usable[i]]
            if last:
                metrics[f"siri/success_{name}_arm"] = float(success[last].mean())
        if len(deltas):
            metrics |= {
                "siri/delta/mean": float(deltas.mean()),
                "siri/delta/std": float(deltas.std()),
                "siri/delta/positive_share": float((deltas > 0).mean()),
                "siri/delta/min": float(deltas.min()),
                "siri/delta/max": float(deltas.max()),
            }
        return metrics

    def _gate_counts(self, rows: StepTable) -> dict[str, float]:
        """The gate's three factors, one after the other: skill turns, those of helped groups, their learned tokens."""
        used = rows.usable & (rows.arm == SKILL) & ~rows.skill_missing
        positive = used & (effect_rows(rows.group.tolist(), self.effects) > 0)
        tokens = rows.span_tokens(self.settings.internalization.span)
        return {
            "siri/gate/used_turns": float(used.sum()),
            "siri/gate/positive_turns": float(positive.sum()),
            "siri/gate/action_tokens": float(tokens[positive & rows.valid].sum()),
        }

    # ---- checkpoint ----------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the bank into a checkpoint folder and return the rest of the state."""
        save_bank(self.bank, folder / BANK_FILE)
        return {
            "phases": self.machine.to_dict(),
            "task_types": self.task_types,
            "pool": self.pool.to_dict(),
            "mined": self.mined,
        }

    def load(self, folder: Path, state: dict[str, Any]) -> None:
        """Read what `save` left."""
        self.bank = load_bank(folder / BANK_FILE, self.settings.bank, self.settings.utility, self.special_tokens)
        self.machine = PhaseMachine.from_dict(self.settings.phases, state["phases"])
        self.task_types = dict(state["task_types"])
        self.pool = SuccessPool.from_dict(self.settings.mining.per_type, state["pool"])
        self.mined = int(state["mined"])


Generate = Callable[[list[str]], list[str]]
"""Prompts -> answers of the current policy, or of the endpoint that mines in its place."""
