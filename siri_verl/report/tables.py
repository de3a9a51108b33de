# SPDX-License-Identifier: Apache-2.0
"""Tables for the terminal: `siri-verl skills list | show | history | diff`, and `siri-verl curve`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from siri_verl.core.decisions import Decision
from siri_verl.report.curve import SUCCESS
from siri_verl.report.reader import Run
from siri_verl.report.skills import SkillLife, skill_lives
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Evidence

_STYLE = {"candidate": "yellow", "active": "green", "retired": "red", "internalized": "blue"}


def skill_list(bank: SkillBank, status: str | None = None, task_type: str | None = None) -> Table:
    """One line per skill: status, type, groups, mean Delta with its interval, utility, text.

    Raises:
        ValueError: the status is unknown, or no skill has the type; names the known ones.
    """
    lives, types = _selected(bank, status, task_type), {skill.task_type for skill in bank.skills.values()}
    table = Table(title=f"{len(bank)} skills: {bank.census(types)}")
    for name in ("id", "status", "type", "groups", "mean Delta", "interval", "utility"):
        right = name in ("groups", "mean Delta", "utility")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("skill")
    for life in lives:
        skill = life.skill
        table.add_row(
            skill.skill_id,
            Text(skill.status, style=_STYLE[skill.status]),
            Text(skill.task_type),
            str(len(skill.evidence)),
            _number(life.mean_delta),
            _interval(life.interval),
            _number(life.utility),
            Text(skill.block),
        )
    return table


def skill_list_json(bank: SkillBank, status: str | None = None, task_type: str | None = None) -> str:
    """The same as a JSON list, one object per skill; `low` and `high` are the interval of the mean Delta.

    Raises:
        ValueError: as `skill_list`.
    """
    listed = []
    for life in _selected(bank, status, task_type):
        skill, (low, high) = life.skill, life.interval or (None, None)
        names = ("status", "task_type", "condition", "strategy")
        listed.append({"id": skill.skill_id, **{name: getattr(skill, name) for name in names}})
        listed[-1] |= {"groups": len(skill.evidence), "mean_delta": life.mean_delta, "low": low, "high": high}
        listed[-1] |= {"utility": life.utility}
    return json.dumps(listed, indent=2, ensure_ascii=False)


def _selected(bank: SkillBank, status: str | None, task_type: str | None) -> list[SkillLife]:
    if status is not None and status not in _STYLE:
        raise ValueError(f"skills list: status {status!r}, use one of {', '.join(_STYLE)}")
    types = sorted({skill.task_type for skill in bank.skills.values()})
    if task_type is not None and task_type not in types:
        known = f"use one of {', '.join(types)}" if types else "the bank is empty"
        raise ValueError(f"skills list: no skill of --task-type {task_type!r}; {known}")
    chosen = [life for life in skill_lives(bank) if status in (None, life.skill.status)]
    return [life for life in chosen if task_type in (None, life.skill.task_type)]


def skill_show(bank: SkillBank, skill_id: str) -> Table:
    """Everything about one skill but its evidence, as name and value.

    Raises:
        KeyError: no such skill.
    """
    skill = bank[skill_id]
    (life,) = (life for life in skill_lives(bank) if life.skill is skill)
    source, shrunken = skill.provenance, bank.book.shrunken_effect(skill_id)
    rows = {
        "status": skill.status,
        "task type": skill.task_type,
        "condition": skill.condition,
        "strategy": skill.strategy,
        "in the prompt": skill.block,
        "mined by": f"{source.miner} at step {source.step}, from task {source.task_id}, trajectory {source.trajectory}",
        "mined again": f"{skill.repeats} times",
        "control tokens taken out": str(skill.neutralised),
        "evidence": f"{len(skill.evidence)} groups, mean Delta {_number(life.mean_delta)}, {_interval(life.interval)} "
        "at any time",
        "utility": f"{_number(skill.state.utility)} (moving average), {_number(shrunken)} (shrunken)",
    }
    if skill.control:
        rows["control text"] = skill.control
    rows |= {f"step {d.step}": f"{d.before} -> {d.after}: {d.reason}" for d in skill.decisions}
    table = Table(title=Text(f"skill {skill_id}"), show_header=False)
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("value")
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def skill_history(bank: SkillBank, skill_id: str) -> Table:
    """A skill's evidence and decisions in order: each group's Delta, the running mean and the moving average.

    Raises:
        KeyError: no such skill.
    """
    table = Table(title=Text(f"skill {skill_id}: {bank[skill_id].block}"))
    for name in ("step", "group", "Delta", "skill arm", "plain arm", "mean", "utility"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("task / decision")
    n, utility, total = 0, 0.0, 0.0
    for event in bank.events:
        if event.skill_id != skill_id:
            continue
        if isinstance(event, Evidence):
            n, total = n + 1, total + event.delta
            utility += bank.book.settings.ema_alpha * (event.delta - utility)
            arms = ((event.skill_mean, event.skill_n), (event.plain_mean, event.plain_n))
            cells = [_number(event.delta), *(f"{_number(mean)} of {count}" for mean, count in arms)]
            cells += [_number(total / n), _number(utility)]
            table.add_row(str(event.step), str(n), *cells, Text(event.task_id))
        elif isinstance(event, Decision):
            move = f"{event.before} -> {event.after}: {event.reason}"
            numbers = f"mean {_number(event.mean)} in [{_number(event.low)}, {_number(event.high)}]"
            table.add_row(str(event.step), *[""] * 6, Text(f"{move}; {numbers}", _STYLE[event.after]))
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
    pairs = [(before[i], after[i]) for i in before.skills if i in after.skills]
    more = {a.skill_id: len(b.evidence) - len(a.evidence) for a, b in pairs}
    return BankDiff(
        added=tuple(i for i in after.skills if i not in before.skills),
        removed=tuple(i for i in before.skills if i not in after.skills),
        changed=tuple(a.skill_id for a, b in pairs if (a.condition, a.strategy) != (b.condition, b.strategy)),
        moved={a.skill_id: (a.status, b.status) for a, b in pairs if a.status != b.status},
        evidence={skill_id: count for skill_id, count in more.items() if count},
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
        table.add_row(skill_id, change, f"{more:+d}", Text(skill.block))
    return table if table.row_count else Group(Text("no difference"))


def curve_table(run: Run) -> Table:
    """The validations of a run, one per line."""
    points = run.curve
    categories = sorted({category for point in points for category in point.by_category})
    measure = run.measure.rpartition("/")[2]
    prompt = " on the plain prompt" if run.measure == SUCCESS and not run.shows_skills_in_validation else ""
    table = Table(title=f"{run.name}: validation{prompt}")
    for column in ("step", "env steps", "episodes", measure, "95 % interval", *categories):
        table.add_column(column, justify="right")
    for p in points:
        shares = [f"{p.by_category[c]:.2f}" if c in p.by_category else "" for c in categories]
        interval = "-" if math.isnan(p.low) else f"{p.low:.3f}-{p.high:.3f}"
        counts = ["-" if n is None else str(n) for n in (p.env_steps, p.episodes)]
        table.add_row(str(p.step), *counts, f"{p.success:.3f}", interval, *shares)
    return table


def _interval(ends: tuple[float, float] | None) -> str:
    # Square brackets would be read as markup.
    return "-" if ends is None else f"{_number(ends[0])} to {_number(ends[1])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
