# SPDX-License-Identifier: Apache-2.0
"""The gate: which turns of a step are internalized. `siri.internalization.source` names one of `GATES`, or a function.

A gate gets the rows of the step and returns (rows,) bool. `method.py` adds the weights, and `selection.py` leaves out
turns that are malformed or hold no action.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from siri_verl.core.internalization import open_rows
from siri_verl.core.pairing import PLAIN, SKILL, TreatmentEffect, effect_rows
from siri_verl.core.seeding import derive_seed
from siri_verl.core.self_imitation import self_imitation_rows
from siri_verl.named import named
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.step_table import StepTable


@dataclass(frozen=True)
class GateInput:
    """What a gate decides with.

    Attributes:
        table: the rows of the step.
        effects: group -> treatment effect.
        advantage: (rows,) A.
        active: ids of the active skills.
        step: the training step.
    """

    table: StepTable
    effects: Mapping[Hashable, TreatmentEffect]
    advantage: np.ndarray
    active: frozenset[str]
    step: int


def shown_skill(table: StepTable) -> np.ndarray:
    """(rows,) bool: turns of the skill arm whose trajectory saw the skill in every prompt."""
    return table.usable & (table.arm == SKILL) & ~table.skill_missing


def delta_of_rows(table: StepTable, effects: Mapping[Hashable, TreatmentEffect]) -> np.ndarray:
    """(rows,) Delta_g of each row's group, NaN where undefined."""
    return effect_rows(table.group.tolist(), dict(effects)) if effects else np.full(len(table), np.nan)


def skill_gate(given: GateInput, settings: SiriSettings) -> np.ndarray:
    """Turns of trajectories that used a skill, in groups where it helped (Delta_g > 0)."""
    table = given.table
    delta = delta_of_rows(table, given.effects)
    active = [skill_id in given.active for skill_id in table.skill_id.tolist()]
    return open_rows(shown_skill(table), delta, active, settings.internalization)


def plain_turns(given: GateInput, settings: SiriSettings) -> np.ndarray:
    """Well-formed turns of the plain arm, in groups whose other arm saw a skill that helped (Delta_g > 0).

    They are what `rows=plain_under_skill` scores; `gate` and `require_active` are the skill gate's. Without either, all
    plain turns: those whose group has no skill hold no prompt with one, and are left out by their rows.
    """
    s, table = settings.internalization, given.table
    open_groups = {
        group
        for group, effect in given.effects.items()
        if (effect.delta > 0 or not s.gate) and (effect.skill_id in given.active or not s.require_active)
    }
    in_group = np.array([group in open_groups for group in table.group.tolist()], dtype=bool)
    return table.usable & (table.arm == PLAIN) & table.valid & (table.span_tokens("action") > 0) & in_group


def self_imitation_gate(given: GateInput, settings: SiriSettings) -> np.ndarray:
    """Control: well-formed plain turns of positive advantage, up to `siri.control.self_imitation_tokens` tokens."""
    table = given.table
    plain = table.usable & (table.arm == PLAIN) & table.valid
    tokens = table.span_tokens(settings.internalization.span)
    seed = derive_seed(settings.seed, "self_imitation", given.step)
    return self_imitation_rows(plain, given.advantage, tokens, settings.control.self_imitation_tokens, seed)


def hard_task_gate(given: GateInput, settings: SiriSettings) -> np.ndarray:
    """Turns of solved trajectories of the skill arm, in groups whose plain arm solved the task in no trajectory."""
    table = given.table
    plain = table.usable & (table.arm == PLAIN)
    tried, solved = set(table.group[plain].tolist()), set(table.group[plain & table.success].tolist())
    hard = np.array([group in tried - solved for group in table.group.tolist()], dtype=bool)
    return shown_skill(table) & table.success & hard


def positive_advantage_gate(given: GateInput, settings: SiriSettings) -> np.ndarray:
    """Well-formed turns of positive advantage."""
    table = given.table
    return table.usable & table.valid & (given.advantage > 0)


Gate = Callable[[GateInput, SiriSettings], np.ndarray]
GATES: dict[str, Gate] = {
    "skill": skill_gate,
    "hard_tasks": hard_task_gate,
    "self_imitation": self_imitation_gate,
    "positive_advantage": positive_advantage_gate,
}


def gate_named(source: str) -> Gate:
    """The gate of `siri.internalization.source`: one of `GATES`, or the function that a path names.

    Raises:
        ConfigError: there is no such gate.
    """
    return named("siri.internalization.source", source, GATES)
