# SPDX-License-Identifier: Apache-2.0
"""Lines that a run prints and warnings that it logs about mining, evidence, decisions and phases.

Promotions and phases are for the screen (siri_verl/screen.py); all else is for the log.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping

from siri_verl.core.decisions import Decision
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.phases import PhaseMove
from siri_verl.core.rules import ACTIVE
from siri_verl.screen import show
from siri_verl.settings.schema import BudgetSettings
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.mining import MiningReport
from siri_verl.skills.retrieval import TypePlan
from siri_verl.training.step_table import StepTable

logger = logging.getLogger(__name__)


def print_mining(report: MiningReport, plans: Iterable[TypePlan]) -> None:
    """Print the result of a round of mining and, one line per task type, which skills are shown or tested next."""
    entered = f"skills {', '.join(report.entered)}" if report.entered else "no skill"
    text = f"step {report.step}: mined {entered} from {report.requests} answers"
    if report.borrowed:
        text += f"; borrowed {', '.join(report.borrowed)} from other task types"
    if report.problems:
        text += "; turned away: " + ", ".join(f"{name} {count}" for name, count in sorted(report.problems.items()))
    if report.leaks:
        text += f" (quoted {'; '.join(report.leaks)})"
    print(text, flush=True)
    for plan in plans:
        print(f"step {report.step}: plan for {plan}", flush=True)


def print_decisions(decisions: Iterable[Decision], step: int, bank: SkillBank) -> None:
    """Print each change of a skill's status and its reason; of a promoted skill, its text too, for the screen."""
    for decision in decisions:
        line = f"step {step}: skill {decision.skill_id} {decision.after}: {decision.reason}"
        if decision.after == ACTIVE:
            skill = bank[decision.skill_id]
            show(f"{line} | {skill.task_type}: {' '.join(skill.block.split())}")
        else:
            print(line, flush=True)


def print_move(move: PhaseMove) -> None:
    """Print a change of the phase and its reason, for the screen."""
    show(f"step {move.step}: phase {move.before} -> {move.after}: {move.reason}")


def warn_budget_left(budget: BudgetSettings, step: int, env_steps: int, phase: str) -> None:
    """Log what is left of a budget that a run's last step does not reach."""
    left = []
    if budget.env_steps is not None:
        left.append(f"{env_steps} of siri.budget.env_steps={budget.env_steps} were played")
    if budget.last_phase is not None:
        left.append(f"the phase is {phase}, siri.budget.last_phase={budget.last_phase} has not ended")
    if left:
        logger.warning("step %d is the run's last, before its budget is spent: %s", step, "; ".join(left))


def warn_nothing_to_play(step: int, steps: int) -> None:
    """Log that a run has been resumed from its last step."""
    if step >= steps:
        logger.warning("the checkpoint is of step %d, and the run ends at step %d: no step is played", step, steps)


def warn_excluded(table: StepTable, effects: Mapping[Hashable, TreatmentEffect], step: int) -> None:
    """Log each paired group that has no treatment effect because one of its trajectories does not count, and why."""
    task_of = dict(zip(table.group.tolist(), table.task_id.tolist(), strict=True))
    unfitting = set(table.group[table.real & table.skill_missing].tolist())
    for effect in effects.values():
        if effect.skill_id and effect.undefined == "excluded":
            why = "the skill does not fit into a later prompt" if effect.group in unfitting else "an episode was lost"
            task = task_of[effect.group]
            logger.warning("step %d: no treatment effect of %s on %s: %s", step, effect.skill_id, task, why)


def warn_no_deciding_token(step: int) -> None:
    """Log that the skill prompts decided none of the learned tokens."""
    logger.warning(
        "step %d: no internalized token is twice as probable on the skill prompt as on the plain prompt", step
    )
