# SPDX-License-Identifier: Apache-2.0
"""A run that goes on, in one screen: progress, success so far, phase, skills. `siri-verl watch` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from siri_verl.core.rules import ACTIVE, CANDIDATE
from siri_verl.report.reader import Metrics
from siri_verl.report.skills import SkillLife, skill_lives
from siri_verl.runs.config import flat_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics
from siri_verl.runs.progress import SUCCESS, LastValidation, phase_of, success_text, validation_text
from siri_verl.screen import duration
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import ANY_LENGTH, load_bank

WINDOW = 20
"""Steps whose duration predicts the rest."""
WIDTH, HEIGHT = 72, 10
"""Columns and rows of the curve."""
MOST_SKILLS = 12
_STYLE = {ACTIVE: "green", CANDIDATE: "yellow"}


@dataclass(frozen=True, eq=False)
class LiveRun:
    """What the files of a run hold at this moment.

    Attributes:
        name: of its folder, or of the file of verl's file logger.
        train, validation: metrics by step.
        bank: empty where the run has none.
        total: steps of the run; None: unknown.
    """

    name: str
    train: Metrics = field(default_factory=dict)
    validation: Metrics = field(default_factory=dict)
    bank: SkillBank = field(default_factory=SkillBank)
    total: int | None = None

    @property
    def step(self) -> int:
        """The last finished step."""
        return max(self.train, default=0)

    @property
    def ended(self) -> bool:
        """Whether the last step is finished."""
        return self.total is not None and self.step >= self.total

    @property
    def seconds_left(self) -> float | None:
        """From the duration of the last steps, validations included; None where it is unknown."""
        last = sorted(self.train)[-WINDOW:]
        spent = [self.train[s].get("timing_s/step", 0.0) + self.train[s].get("timing_s/testing", 0.0) for s in last]
        if not self.total or not any(spent):
            return None
        return max(0, self.total - self.step) * sum(spent) / len(spent)


def read_live(path: Path) -> LiveRun:
    """Read a run's folder, or the file of verl's file logger.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: a file is damaged; names it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder; give a run's folder (trainer.default_local_dir)")
    folder = RunFolder(path if path.is_dir() else path.parent)
    metrics = folder.metrics if path.is_dir() else path
    records = read_metrics(metrics) if metrics.is_file() else []
    has_bank = path.is_dir() and folder.bank.is_file()
    total = flat_config(path).get("trainer.total_training_steps") if path.is_dir() else None
    return LiveRun(
        name=path.resolve().name,
        train={r["step"]: r["metrics"] for r in records if r["kind"] == "train"},
        validation={r["step"]: r["metrics"] for r in records if r["kind"] == "validation"},
        bank=load_bank(folder.bank, ANY_LENGTH) if has_bank else SkillBank(),
        total=int(total) if isinstance(total, int) and total > 0 else None,
    )


def render(run: LiveRun) -> RenderableType:
    """The screen."""
    if not run.train and not run.validation:
        return Text(f"{run.name}: waiting for the first step")
    parts: list[RenderableType] = [_head(run)]
    if run.total:
        parts.append(ProgressBar(total=run.total, completed=run.step, width=WIDTH + 6))
    parts += [Text(), curve(run), Text()]
    lives = sorted(
        (life for life in skill_lives(run.bank) if life.skill.status in _STYLE and life.skill.evidence),
        key=lambda life: (life.skill.status != ACTIVE, -(life.utility or 0.0)),
    )
    if lives:
        parts.append(_skills(lives, run))
    return Group(*parts)


def _head(run: LiveRun) -> Text:
    latest = run.train.get(run.step, {})
    validated = [LastValidation(step, text) for step, m in run.validation.items() if (text := validation_text(m))]
    parts = [f"step {run.step}" + (f" of {run.total}" if run.total else ""), phase_of(latest), success_text(latest)]
    if validated:
        last = max(validated, key=lambda v: v.step)
        parts.append(f"validation {last.text} at step {last.step}")
    if run.ended:
        parts.append("finished")
    elif run.seconds_left is not None:
        parts.append(f"{duration(run.seconds_left)} left")
    return Text.assemble((run.name, "bold"), "  ", " | ".join(part for part in parts if part))


def curve(run: LiveRun) -> Text:
    """Success over steps as characters: `●` validation, `+` skill arm, `·` plain arm or all trajectories."""
    series = [
        ("·", "dim", _points(run.train, ("siri/success_plain_arm", "siri/success"))),
        ("+", "yellow", _points(run.train, ("siri/success_skill_arm",))),
        ("●", "cyan", _points(run.validation, (SUCCESS, *_core(run.validation)))),
    ]
    last = max(run.total or 0, run.step, 1)
    grid = [[(" ", "")] * WIDTH for _ in range(HEIGHT)]
    for mark, style, points in series:
        for step, value in points:
            row = HEIGHT - 1 - round(min(max(value, 0.0), 1.0) * (HEIGHT - 1))
            grid[row][round(step / last * (WIDTH - 1))] = mark, style
    text = Text("success  ")
    for mark, style, words in (("●", "cyan", "validation"), ("·", "dim", "plain arm"), ("+", "yellow", "skill arm")):
        text.append(f"{mark} ", style).append(f"{words}  ")
    for number, row in enumerate(grid):
        label = {0: "1.0", HEIGHT - 1: "0.0"}.get(number, "")
        text.append(f"\n{label:>4} │")
        for mark, style in row:
            text.append(mark, style)
    ends = f"0{last:>{WIDTH - 1}}"
    return text.append("\n     └" + "─" * WIDTH + f"\n      {ends} steps")


def _core(validation: Metrics) -> Sequence[str]:
    """Names of verl's core validation metrics."""
    return sorted({name for metrics in validation.values() for name in metrics if name.startswith("val-core/")})


def _points(metrics: Metrics, names: Sequence[str]) -> list[tuple[int, float]]:
    """(step, value) of the first of these metrics that a step has."""
    found = ((step, next((m[n] for n in names if m.get(n) is not None), None)) for step, m in metrics.items())
    return [(step, float(value)) for step, value in found if value is not None]


def _skills(lives: Sequence[SkillLife], run: LiveRun) -> Table:
    waiting = sum(skill.status == CANDIDATE and not skill.evidence for skill in run.bank.skills.values())
    more = len(lives) - MOST_SKILLS
    caption = ", ".join([f"{more} more tested"] * (more > 0) + [f"{waiting} wait for their test"] * (waiting > 0))
    table = Table(
        title="skills", caption=caption or None, title_justify="left", caption_justify="left", expand=True, box=SIMPLE
    )
    for name in ("id", "status", "type"):
        table.add_column(name, no_wrap=True)
    for name in ("groups", "utility"):
        table.add_column(name, justify="right", no_wrap=True)
    # ratio: the text is cut, never the other columns
    table.add_column("text", overflow="ellipsis", no_wrap=True, ratio=1)
    for life in lives[:MOST_SKILLS]:
        skill = life.skill
        table.add_row(
            skill.skill_id,
            Text(skill.status, style=_STYLE[skill.status]),
            Text(skill.task_type),
            str(len(skill.evidence)),
            f"{life.utility:+.2f}" if life.utility is not None else "-",
            Text(" ".join(skill.block.split())),
        )
    return table
