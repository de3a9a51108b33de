# SPDX-License-Identifier: Apache-2.0
"""What a bank holds, as tables: the pieces behind `siri-verl skills list | show | history | diff`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from siri_verl.core.confidence import confidence_sequence
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Skill

_STYLE = {"candidate": "yellow", "active": "green", "retired": "red"}


def skill_list(bank: SkillBank, status: str | None = None, task_type: str | None = None) -> Table:
    """One line per skill: status, type, groups, mean Delta with its interval, utility, text.

    Raises:
        ValueError: the status is unknown, or no skill has the type; names the known ones.
    """
    if status is not None and status not in _STYLE:
        raise ValueError(f"skills list: status {status!r}, use one of {', '.join(_STYLE)}")
    types = sorted({skill.task_type for skill in bank.skills.values()})
    if task_type is not None and task_type not in types:
        known = f"use one of {', '.join(types)}" if types else "the bank is empty"
        raise ValueError(f"skills list: no skill of --task-type {task_type!r}; {known}")
    table = Table(title=f"{len(bank)} skills: {bank.census(set(types))}")
    for name, justify in (
        ("id", "left"),
        ("status", "left"),
        ("type", "left"),
        ("groups", "right"),
        ("mean Delta", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("interval", no_wrap=True)
    table.add_column("utility", justify="right", no_wrap=True)
    table.add_column("skill")
    for skill in bank.skills.values():
        if status not in (None, skill.status) or task_type not in (None, skill.task_type):
            continue
        table.add_row(
            skill.skill_id,
            Text(skill.status, style=_STYLE[skill.status]),
            escape(skill.task_type),
            str(len(skill.evidence)),
            _number(mean_delta(skill)),
            _interval(bank, skill),
            _number(bank.utility(skill.skill_id)) if skill.evidence else "-",
            escape(skill.block),
        )
    return table


def skill_show(bank: SkillBank, skill_id: str) -> Table:
    """Everything about one skill but its evidence, as name and value.

    Raises:
        KeyError: no such skill.
    """
    skill, state = bank[skill_id], bank.book.state(skill_id)
    source = skill.provenance
    count = len(skill.evidence)
    table = Table(title=f"skill {skill_id}", show_header=False)
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("value")
    rows = {
        "status": skill.status,
        "task type": skill.task_type,
        "condition": skill.condition,
        "strategy": skill.strategy,
        "in the prompt": skill.block,
        "mined by": f"{source.miner} at step {source.step}, from task {source.task_id}, trajectory {source.trajectory}",
        "mined again": f"{skill.repeats} times",
        "control tokens taken out": str(skill.neutralised),
        "evidence": f"{count} groups, mean Delta {_number(mean_delta(skill))}, {_interval(bank, skill)} at any time",
        "utility": _number(state.utility)
        + f" (moving average), {_number(bank.book.shrunken_effect(skill_id))} (shrunken)",
    }
    if skill.control:
        rows["control text"] = skill.control
    for decision in skill.decisions:
        rows[f"step {decision.step}"] = f"{decision.before} -> {decision.after}: {decision.reason}"
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def skill_history(bank: SkillBank, skill_id: str) -> Table:
    """A skill's evidence and decisions in order: each group's Delta, the running mean and the moving average.

    Raises:
        KeyError: no such skill.
    """
    skill = bank[skill_id]
    table = Table(title=f"skill {skill_id}: {escape(skill.block)}")
    for name in ("step", "group", "Delta", "skill arm", "plain arm", "mean", "utility"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("task / decision")
    alpha, utility, total = bank.book.settings.ema_alpha, 0.0, 0.0
    decisions = list(skill.decisions)
    # A decision rests on the groups since the one before it, so their counts say where it stands.
    place = decisions[0].groups if decisions else 0
    for n, e in enumerate(skill.evidence, 1):
        utility += alpha * (e.delta - utility)
        total += e.delta
        arms = [f"{_number(mean)} of {count}" for mean, count in ((e.skill_mean, e.skill_n), (e.plain_mean, e.plain_n))]
        table.add_row(
            str(e.step), str(n), _number(e.delta), *arms, _number(total / n), _number(utility), escape(e.task_id)
        )
        if decisions and n == place:
            d = decisions.pop(0)
            style = _STYLE[d.after]
            text = Text(
                f"{d.before} -> {d.after}: {d.reason}; mean {_number(d.mean)} in [{_number(d.low)}, {_number(d.high)}]",
                style,
            )
            table.add_row(str(d.step), "", "", "", "", "", "", text)
            place = n + (decisions[0].groups if decisions else 0)
    return table


@dataclass(frozen=True)
class BankDiff:
    """What changed between two banks, by skill id.

    Attributes:
        added: only in the second.
        removed: only in the first (another run, or an edited file).
        changed: in both under the same id with other text.
        moved: id -> (status before, status after).
        evidence: id -> groups more (or fewer).
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    moved: dict[str, tuple[str, str]]
    evidence: dict[str, int]


def bank_diff(before: SkillBank, after: SkillBank) -> BankDiff:
    """Compare two banks, for example of two checkpoints."""
    both = [skill_id for skill_id in before.skills if skill_id in after.skills]
    pairs = [(before[i], after[i]) for i in both]
    return BankDiff(
        added=tuple(i for i in after.skills if i not in before.skills),
        removed=tuple(i for i in before.skills if i not in after.skills),
        changed=tuple(a.skill_id for a, b in pairs if (a.condition, a.strategy) != (b.condition, b.strategy)),
        moved={a.skill_id: (a.status, b.status) for a, b in pairs if a.status != b.status},
        evidence={
            a.skill_id: len(b.evidence) - len(a.evidence) for a, b in pairs if len(a.evidence) != len(b.evidence)
        },
    )


def skill_diff(before: SkillBank, after: SkillBank) -> Table | Group:
    """The difference of two banks as a table."""
    diff = bank_diff(before, after)
    table = Table(title=f"{len(before)} -> {len(after)} skills")
    table.add_column("id", no_wrap=True)
    table.add_column("change", no_wrap=True)
    table.add_column("groups", justify="right", no_wrap=True)
    table.add_column("skill")
    for skill_id in sorted({*diff.added, *diff.removed, *diff.changed, *diff.moved, *diff.evidence}):
        skill = (before if skill_id in diff.removed else after)[skill_id]
        if skill_id in diff.added:
            change = f"new, {skill.status}"
        elif skill_id in diff.removed:
            change = "gone"
        else:
            change = " -> ".join(
                diff.moved.get(skill_id, ("other text" if skill_id in diff.changed else skill.status,))
            )
        more = len(skill.evidence) if skill_id in diff.added else diff.evidence.get(skill_id, 0)
        table.add_row(skill_id, change, f"{more:+d}", escape(skill.block))
    if not table.row_count:
        return Group(Text("no difference"))
    return table


def mean_delta(skill: Skill) -> float:
    """Mean Delta over the groups a skill was tested in; NaN before the first."""
    return math.fsum(e.delta for e in skill.evidence) / len(skill.evidence) if skill.evidence else math.nan


def delta_interval(bank: SkillBank, skill: Skill) -> tuple[float, float]:
    """(low, high) of a tested skill's mean Delta, valid at any time of looking."""
    return confidence_sequence([e.delta for e in skill.evidence], bank.book.settings.interval_level)


def _interval(bank: SkillBank, skill: Skill) -> str:
    if not skill.evidence:
        return "-"
    low, high = delta_interval(bank, skill)
    # Square brackets would be read as markup.
    return f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.3f}"
