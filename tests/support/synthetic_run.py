# SPDX-License-Identifier: Apache-2.0
"""A run without a model: episodes whose outcomes are decided by rule, as step tables, through the real SiriStep."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from siri_verl.core.gigpo import GigpoSettings
from siri_verl.core.internalization import InternalizationSettings
from siri_verl.core.pairing import PLAIN
from siri_verl.core.phases import PhaseSettings
from siri_verl.core.rules import UtilitySettings
from siri_verl.envs.toy import ToyEnv, toy_tasks
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.mining import MiningSettings
from siri_verl.skills.task_type import TaskTypeSettings, task_typer
from siri_verl.training.advantages import table_advantages
from siri_verl.training.method import Siri
from siri_verl.training.planner import GroupPlanner
from siri_verl.training.step import SiriStep
from siri_verl.training.step_table import StepTable
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings
from support.tiny_model import make_tokenizer

SESSIONS = 4
TOKENIZER = make_tokenizer()
TASKS = [task for task in toy_tasks("train") if "coin" in task or "lamp" in task]
GOOD, BAD, IDLE = "read the note and go there first", "wander from room to room", "say the task aloud before acting"


def run_settings(**given) -> SiriSettings:
    """Short phases: two solved tasks end warm-up, both types covered end mining."""
    defaults = {
        "phases": PhaseSettings(warm_up_tasks=2, warm_up_max_steps=6, active_share=1.0, mining_max_steps=30),
        "task_type": TaskTypeSettings(kind="regex", table={"coin": "coin", "lamp": "lamp"}),
        "utility": UtilitySettings(ema_alpha=0.3, n_eval=4, promote_above=0.3, retire_after=3, max_groups=12),
        "mining": MiningSettings(every=2, requests=2, per_type=4),
        "internalization": InternalizationSettings(lambda_max=0.4, warmup_updates=4),
    }
    return SiriSettings(**{**defaults, **given})


def make_run(config: SiriSettings | None = None) -> Siri:
    config = config or run_settings()
    prompts = PromptBuilder(TOKENIZER, PromptSettings(), 2000)
    planner = GroupPlanner(ToyEnv(), prompts, task_typer(config.task_type), config.seed)
    return Siri(config, SESSIONS, planner, ["<|im_end|>"])


def outcome(task: str, step: int, session: int, strategy: str) -> bool:
    """A quarter of the plain episodes succeed; with the good skill nearly all do, with the bad one none."""
    luck = random.Random(f"{task} {step} {session}").random()
    return luck < {"": 0.25, GOOD: 0.9, BAD: 0.0, IDLE: 0.25}[strategy]


def answers(prompts: list[str], step: int) -> list[str]:
    """The policy's answers to a round's mining prompts: one of three strategies, or nothing of use."""
    said = []
    for number, _ in enumerate(prompts):
        strategy = (IDLE, BAD, "", GOOD)[(step // 2 + number) % 4]
        said.append(f"condition: something lies in a room\nstrategy: {strategy}")
    return said


def row(task_id, arm="plain", skill_id="", reward=0.0, turn=0, **more) -> dict:
    """The turn fields of a row, as the agent loop states them."""
    return {
        "anchor": f"{task_id} {turn}",
        "turn_reward": reward,
        "valid": True,
        "task_id": task_id,
        "arm": arm,
        "skill_id": skill_id,
        "span_start": 3,
        "span_end": 3 + 5 + turn,
        **more,
    }


def step_table(groups, config: SiriSettings, plain_sessions: int, step: int, change=None) -> StepTable:
    """Two turns per episode, uids that no other run has, rows in the order in which they happened to arrive."""
    rows: dict[str, dict] = {}
    for group in groups:
        uid = uuid.uuid4().hex
        for session in range(SESSIONS):
            shown = group.skill if session >= plain_sessions else None
            won = outcome(group.task_id, step, session, shown.strategy if shown else "")
            arm, skill_id = ("skill", shown.skill_id) if shown else (PLAIN, "")
            episode = {"success": won, "score": float(won), "task": f"put the {group.task_type} somewhere"}
            for turn in (0, 1):
                reward = config.reward.success_reward * won * turn
                fields = row(group.task_id, arm, skill_id, reward, turn, **episode)
                fields["transcript"] = [("a note", f"go {session}"), ("a thing", "take it")] if turn else None
                rows[f"{uid}_{session}_{turn}"] = {**fields, **(change(group, session, turn) if change else {})}
    keys = list(rows)
    random.shuffle(keys)
    table = StepTable.build(keys, [{"response_len": 12} for _ in keys], [rows[key] for key in keys])
    return table.take(table.canonical_order())


@dataclass
class Story:
    """What a run decided, in words that do not depend on row keys."""

    plans: list = field(default_factory=list)
    mined: list = field(default_factory=list)
    decisions: list = field(default_factory=list)
    moves: list = field(default_factory=list)
    selections: list = field(default_factory=list)
    lambdas: list = field(default_factory=list)
    phases: list = field(default_factory=list)


def play(run: Siri, steps, story: Story, change=None) -> SiriStep | None:
    """Every step as the trainer plays it, without log-probs and updates; returns the last."""
    now = None
    for step in steps:
        now = SiriStep(run, step, {"adv_estimator": "gigpo"})
        if run.mining_due(step):
            report = now.mine(partial(answers, step=step))
            story.mined.append((step, report.requests, tuple(report.entered), dict(report.problems)))
        tasks = random.Random(f"tasks {step}").sample(TASKS, 6)
        groups = now.plan(tasks, tasks)
        story.plans.append([(g.task_id, g.skill.skill_id if g.skill else "") for g in groups])
        now.table = table = step_table(groups, run.settings, run.arm_plan.plain, step, change)
        now.record_effects()
        story.decisions += now.decisions
        if run.machine.internalizes:
            advantage = table_advantages(table, GigpoSettings()).total
            is_open, weight = run.internalization_weights(table, now.effects, advantage, "mean", step)
            rows = np.flatnonzero(is_open)
            at = [(str(table.task_id[i]), table.trajectory[i][-1], int(table.turn[i])) for i in rows]
            story.selections.append((step, at, weight[rows].round(9).tolist()))
            story.lambdas.append(now.next_lambda())
        story.phases.append(run.machine.phase)
        moves = len(run.machine.moves)
        now.end()
        story.moves += run.machine.moves[moves:]
    return now
