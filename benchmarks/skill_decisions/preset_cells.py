# SPDX-License-Identifier: Apache-2.0
"""Error rates of the moving-average rule with the settings and arms of the presets, read from the presets themselves.

The rule runs over all skills of a cell at once; the first of them go through the product's `DecisionBook` as well, and
a single difference is an error.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache

import numpy as np
from omegaconf import OmegaConf

from siri_verl.core.decisions import DecisionBook
from siri_verl.core.pairing import ArmPlan
from siri_verl.core.rules import ACTIVE, UtilitySettings
from siri_verl.planning.compose import compose_run

PRESETS = {
    "default": "base",
    "webshop_demo": "webshop,cpu,cpu_small,webshop_demo",
    "alfworld_demo": "alfworld,cpu,cpu_small,alfworld_demo",
}
CELLS = (
    *((p, 0.0) for p in (0.05, 0.2, 0.5)),
    *((p, effect) for effect in (0.2, 0.4, 0.7) for p in (0.05, 0.2, 0.4) if p + effect <= 1),
)
AFTER = 20
"""Groups after the last possible promotion: the time in which a promoted skill may be lost again."""


@dataclass(frozen=True)
class Setup:
    """What decides about a skill: the rule's settings, and the trajectories of each arm of a group."""

    name: str
    utility: UtilitySettings
    plain: int
    skill: int

    @property
    def arms(self) -> str:
        """For tables."""
        return f"{self.skill} v {self.plain}"


@cache
def preset(name: str) -> Setup:
    """The setup of a preset, as a run of it would have it."""
    config = compose_run([f"+siri=[{PRESETS[name]}]"])
    plan = ArmPlan.split(config.actor_rollout_ref.rollout.n, config.siri.arms.skill_share)
    utility = UtilitySettings(**OmegaConf.to_container(config.siri.utility, resolve=True))
    return Setup(name, utility, plan.plain, plan.skill)


def setups() -> list[Setup]:
    """The presets, and what else could have been chosen for the demos."""
    found = [preset(name) for name in PRESETS]
    default = found[0].utility
    for name, changes in (
        ("default settings", {}),
        ("at most 12 groups", {"max_groups": 12}),
        ("4 to 6 groups", {"n_eval": 4, "max_groups": 6}),
    ):
        for arm in (4, 2):
            if changes or arm == 2:
                found.append(Setup(name, replace(default, **changes), arm, arm))
    return found


def effects(setup: Setup, base: float, effect: float, skills: int, seed: int) -> np.ndarray:
    """Delta of paired groups, shape (skills, max_groups + AFTER)."""
    rng = np.random.default_rng([seed, setup.plain, setup.skill, round(100 * base), round(100 * effect)])
    shape = (skills, setup.utility.max_groups + AFTER)
    return rng.binomial(setup.skill, base + effect, shape) / setup.skill - (
        rng.binomial(setup.plain, base, shape) / setup.plain
    )


def outcomes(settings: UtilitySettings, deltas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `ema` rule on many skills at once.

    Args:
        settings: the rule's.
        deltas: shape (skills, groups), with at least `max_groups` groups.

    Returns:
        For each skill: whether it was promoted, the groups the decision about the candidate took, and the groups from
        promotion to retirement (0: not retired, or never promoted).

    Raises:
        ValueError: the settings name another rule.
    """
    if settings.decision != "ema":
        raise ValueError(f"siri.utility.decision={settings.decision!r}: only ema is simulated for many skills at once")
    skills, groups = deltas.shape
    utility, below = np.zeros(skills), np.zeros(skills, dtype=int)
    decided, promoted_at, lost_at = (np.zeros(skills, dtype=int) for _ in range(3))
    for seen, delta in enumerate(deltas.T, start=1):
        utility += settings.ema_alpha * (delta - utility)
        below = np.where(utility < settings.retire_below, below + 1, 0)
        candidate, active = decided == 0, (promoted_at > 0) & (lost_at == 0)
        if seen >= settings.n_eval:
            promote = candidate & (utility > settings.promote_above)
            lost_at[active & (below >= settings.retire_after)] = seen
            decided[promote | (candidate & (below >= settings.retire_after))] = seen
            promoted_at[promote] = seen
            below[promote] = 0
        if seen >= settings.max_groups:
            decided[decided == 0] = seen
    return promoted_at > 0, decided, np.where(lost_at > 0, lost_at - promoted_at, 0)


def book_outcome(settings: UtilitySettings, deltas: np.ndarray) -> tuple[bool, int, int]:
    """The same of one skill, by the product's `DecisionBook`."""
    book = DecisionBook(settings)
    book.add("s", "type")
    decisions = []
    for seen, delta in enumerate(deltas.tolist(), start=1):
        if book.record("s", delta, seen) is not None:
            decisions.append((book.state("s").status, seen))
    (status, groups), *later = decisions
    return status == ACTIVE, groups, later[0][1] - groups if later else 0


def cell(setup: Setup, base: float, effect: float, skills: int, seed: int, checked: int) -> dict:
    """Shares and mean group counts of one kind of skill.

    Raises:
        AssertionError: the rule here and the product's differ on one of the first `checked` skills.
    """
    deltas = effects(setup, base, effect, skills, seed)
    promoted, groups, kept = outcomes(setup.utility, deltas)
    for i in range(checked):
        here, product = (bool(promoted[i]), int(groups[i]), int(kept[i])), book_outcome(setup.utility, deltas[i])
        if here != product:
            raise AssertionError(f"{setup.name}, {setup.arms}, skill {i}: {here} here, {product} by the DecisionBook")
    lost = (kept > 0) & (kept <= AFTER)
    return {
        "setup": setup.name,
        "arms": setup.arms,
        "base": base,
        "effect": effect,
        "skills": skills,
        "promoted": float(promoted.mean()),
        "plus_minus": float(1.96 * promoted.std() / skills**0.5),
        "groups": float(groups.mean()),
        "lost": float(lost[promoted].mean()) if promoted.any() else None,
    }


def simulate(skills: int, seed: int, checked: int = 100) -> dict:
    """Every cell of every setup, with the settings it stands for."""
    found = setups()
    return {
        "arguments": {"skills": skills, "seed": seed, "checked": checked},
        "settings": [{"setup": s.name, "arms": s.arms, **asdict(s.utility)} for s in found],
        "cells": [cell(s, p, e, skills, seed, checked) for s in found for p, e in CELLS],
    }


def table(cells: list[dict]) -> str:
    """Markdown: a row for each setup, shares at the start p = .05, .2, .5 (useless) or .05, .2, .4 (useful)."""

    def short(value: float, digits: int) -> str:
        return f"{value:.{digits}f}".removeprefix("0") if value < 1 else f"{value:.{digits}f}"

    lines = [
        "| setup | arms | useless promoted | groups | effect .2 found | effect .4 found | groups | effect .7 found "
        "| lost again: effect .4 | useless |",
        "|---" * 10 + "|",
    ]
    for name, arms in dict.fromkeys((c["setup"], c["arms"]) for c in cells):
        mine = [c for c in cells if (c["setup"], c["arms"]) == (name, arms)]
        kind = {e: [c for c in mine if c["effect"] == e] for e in (0.0, 0.2, 0.4, 0.7)}
        shares = {e: " ".join(short(c["promoted"], 3 if e == 0 else 2) for c in cs) for e, cs in kind.items()}
        mean = {e: f"{np.mean([c['groups'] for c in cs]):.1f}" for e, cs in kind.items()}
        # The last start of each kind: the one with the most promotions, and the least sure of useful skills.
        lost = {e: short(kind[e][-1]["lost"] or 0.0, 2 if e == 0 else 3) for e in (0.0, 0.4)}
        lines.append(
            f"| {name} | {arms} | {shares[0.0]} | {mean[0.0]} | {shares[0.2]} | {shares[0.4]} | {mean[0.4]} "
            f"| {shares[0.7]} | {lost[0.4]} | {lost[0.0]} |"
        )
    return "\n".join(lines)
