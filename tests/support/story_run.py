# SPDX-License-Identifier: Apache-2.0
"""A run's folder as the trainer leaves it, without a model: outcomes are drawn by rule, everything else is the real
bank, retrieval, phases, statistics of the gate, and metrics log."""

import random

import numpy as np

from siri_verl.core.deciding_tokens import deciding_metrics
from siri_verl.core.internalization import InternalizationSettings, weight_column
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.phases import PhaseMachine, PhaseSettings
from siri_verl.core.rules import UtilitySettings
from siri_verl.runs.metrics import MetricsLog
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.retrieval import RetrievalSettings, Retriever
from siri_verl.skills.skill import Provenance
from siri_verl.training.metrics import validation_metrics

TYPES = ("bath", "closet", "garden", "kitchen", "office", "pets")
STRATEGIES = {
    "choose every option the task names , then buy": "closet",
    "read the features , buy it if they fit , else the next item": "bath",
    "open the cheapest of the list , then buy now": "kitchen",
    "look at the second page before you open an item": "garden",
    "put the wanted quality into the search , then buy the first item": "office",
    "open the top item and buy it right away": "pets",
}
"""Strategy -> the type it helps; elsewhere it does harm."""
START = {"bath": 0.05, "closet": 0.5, "garden": 0.2, "kitchen": 0.2, "office": 0.05, "pets": 0.5}


class World:
    """How often each arm succeeds; internalization raises the plain arm of types with an active skill."""

    def __init__(self, seed):
        self.rng, self.plain = random.Random(seed), dict(START)

    def share(self, task_type, strategy=None, n=4):
        chance = self.plain[task_type]
        if strategy is not None:
            chance += 0.45 * (1 - chance) if STRATEGIES[strategy] == task_type else -0.5 * chance
        return sum(self.rng.random() < chance for _ in range(n)) / n


def simulate(folder, *, steps=60, seed=1, skills=True, rule="ema", control="", val_every=5):
    """Write metrics.jsonl and skills.jsonl of a run of that many steps; returns its bank."""
    world, log = World(seed), MetricsLog(folder / "metrics.jsonl")
    fixed = None if skills else "warm_up"
    phases = PhaseSettings(warm_up_tasks=24, warm_up_max_steps=8, mining_max_steps=24, allow_empty=True, fixed=fixed)
    rules = {"ema": {"promote_above": 0.12}, "sequential": {"fdr": 0.3, "max_groups": 200}}[rule]
    bank = SkillBank(utility=UtilitySettings(decision=rule, **rules))
    machine, retriever = PhaseMachine(phases), Retriever(RetrievalSettings(), seed)
    env_steps = 0
    for step in range(steps + 1):
        if step:
            metrics = {"siri/phase": machine.index}
            if machine.pairs_groups and step % 3 == 0:
                metrics |= mine(bank, world, step, control)
            metrics |= play(bank, world, machine, retriever, step)
            env_steps += 300 + world.rng.randrange(60)
            metrics["siri/env_steps_total"] = env_steps
            if machine.internalizes:
                metrics |= internalize(bank, world, machine)
            census = bank.census(TYPES)
            names = {"task_types": "types"}
            for name in ("candidate", "active", "retired", "task_types", "active_types"):
                metrics[f"siri/bank/{name}"] = float(getattr(census, names.get(name, name)))
            machine.end_step(step, {f"{step}-{i}" for i in range(4)}, census)
            log.write("train", step, metrics)
        if step % val_every == 0:
            outcomes = [(t, world.rng.random() < world.plain[t]) for t in TYPES for _ in range(32)]
            infos = {"success": [float(won) for _, won in outcomes], "category": [t for t, _ in outcomes]}
            log.write("validation", step, validation_metrics(infos))
    save_bank(bank, folder / "skills.jsonl")
    return bank


def mine(bank, world, step, control):
    metrics = {"siri/mining/requests": 4.0, "siri/mining/turned_away/no_condition_and_strategy": 1.0}
    for number in range(3):
        task_type = world.rng.choice(TYPES)
        strategy = world.rng.choice([*STRATEGIES, *[s for s, t in STRATEGIES.items() if t == task_type] * 6])
        source = Provenance(f"{task_type}-train-{step}-{number}", f"{step}/x/0", step)
        entry = bank.add(f"shopping for the {task_type}", strategy, task_type, source, control=control)
        if entry.problem:
            name = f"siri/mining/turned_away/{entry.problem}"
            metrics[name] = metrics.get(name, 0.0) + 1
    return metrics


def play(bank, world, machine, retriever, step):
    effects, plain, skilled = {}, [], []
    for group in range(8):
        task_type = TYPES[(step + group) % len(TYPES)]
        task_id = f"{task_type}-train-{step}-{group}"
        skill = retriever.retrieve(bank, task_type, step=step, task_id=task_id) if machine.pairs_groups else None
        low = world.share(task_type)
        plain.append(low)
        if skill is not None:
            high = world.share(task_type, skill.strategy)
            skilled.append(high)
            effects[task_id] = TreatmentEffect(task_id, skill.skill_id, high - low, high, low, 4, 4)
    bank.record_all(effects.values(), {name: name for name in effects}, step)
    metrics = {"siri/success_plain_arm": float(np.mean(plain)), "siri/paired_groups": float(len(effects))}
    if skilled:
        deltas = np.array([e.delta for e in effects.values()])
        metrics |= {"siri/success_skill_arm": float(np.mean(skilled)), "siri/delta/mean": float(deltas.mean())}
    return metrics


def internalize(bank, world, machine):
    """The gate's real statistics over drawn rows; types with an active skill gain."""
    settings = InternalizationSettings()
    for skill in bank.skills.values():
        if skill.status == "active" and STRATEGIES[skill.strategy] == skill.task_type:
            world.plain[skill.task_type] += 0.06 * (0.9 - world.plain[skill.task_type])
    rows = world.rng.randrange(6, 30)
    spans = np.arange(12)[None, :] < np.array([world.rng.randrange(3, 9) for _ in range(rows)])[:, None]
    weights = [max(0.0, world.rng.gauss(0.3, 0.3)) for _ in range(rows)]
    level = -1.6 + 1.2 * min(1.0, machine.updates / 30)
    log_probs = np.array([[world.rng.gauss(level, 0.3) for _ in range(12)] for _ in range(rows)]).clip(max=-0.01)
    column = weight_column([True] * rows, weights, spans, settings, plain_log_prob=log_probs)
    weight = settings.lambda_at(machine.next_update())
    metrics = {f"siri/internalization/{name}": value for name, value in column.metrics.items()}
    learned = log_probs[column.column > 0]
    metrics["siri/internalization/plain_log_prob_weighted_mean"] = float(learned.mean())
    gains = np.where(np.arange(len(learned)) % 6 == 0, 0.9, 0.0)
    deciding = deciding_metrics(learned - gains, np.minimum(learned, 0))
    metrics |= {f"siri/internalization/{name}": value for name, value in deciding.items()}
    return metrics | {"siri/internalization/lambda": weight, "siri/internalization/rows_added": float(rows)}
