# SPDX-License-Identifier: Apache-2.0
"""Lives of a run's skills, and their re-tests after it, as rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siri_verl.core.decisions import Decision
from siri_verl.core.rules import ACTIVE
from siri_verl.report.runs import Run
from siri_verl.report.story import UtilityPath, utility_paths
from siri_verl.runs.folder import RunFolder
from siri_verl.skills.skill import Evidence, Skill

MOST = 80
"""Tested skills without promotion that are listed; the bank's file holds all."""
RETEST_VERSION = 1
_TURNED_AWAY = "siri/mining/turned_away/"
SPARK = (130, 34)
"""Width and height of a spark line, in pixels."""


@dataclass(frozen=True)
class SkillLife:
    """One skill, ready to be shown.

    Attributes:
        skill: of the bank.
        utility: now; None before its first group.
        mean_delta: over all its groups; None without.
        spark: points of its utility over its groups, as SVG takes them; "" with fewer than two.
        zero: height of utility 0 in the spark line.
    """

    skill: Skill
    utility: float | None
    mean_delta: float | None
    spark: str
    zero: float

    @property
    def decisions(self) -> Sequence[Decision]:
        """Changes of status, in order."""
        return self.skill.decisions

    @property
    def evidence(self) -> Sequence[Evidence]:
        """Paired groups, in order."""
        return self.skill.evidence

    @property
    def promoted(self) -> bool:
        """It was active at some time."""
        return any(decision.after == ACTIVE for decision in self.skill.decisions)


@dataclass(frozen=True)
class Lives:
    """A run's skills by what became of them.

    Attributes:
        promoted: active at some time, in order of promotion.
        tested: the others that were shown in groups, those with most evidence first; `more_tested` are left out.
        waiting: never shown.
    """

    promoted: list[SkillLife]
    tested: list[SkillLife]
    more_tested: int
    waiting: list[SkillLife]

    def __len__(self) -> int:
        return len(self.promoted) + len(self.tested) + self.more_tested + len(self.waiting)


def skill_lives(run: Run) -> Lives:
    """The skills of a run."""
    paths = utility_paths(run.story.bank)
    # One scale for all skills of the run.
    scale = max((abs(value) for path in paths.values() for value in path.utility), default=0.0) or 1.0
    none = UtilityPath()
    lives = [_life(run, s, paths.get(s.skill_id, none), scale) for s in run.story.bank.skills.values()]
    promoted = sorted((life for life in lives if life.promoted), key=lambda life: life.decisions[0].step)
    tested = sorted((life for life in lives if life.evidence and not life.promoted), key=lambda i: -len(i.evidence))
    waiting = [life for life in lives if not life.evidence]
    return Lives(promoted, tested[:MOST], max(len(tested) - MOST, 0), waiting)


def _life(run: Run, skill: Skill, path: UtilityPath, scale: float) -> SkillLife:
    deltas = [e.delta for e in skill.evidence]
    spark, zero = _spark(path.utility, scale)
    return SkillLife(
        skill=skill,
        utility=run.story.bank.utility(skill.skill_id) if deltas else None,
        mean_delta=float(np.mean(deltas)) if deltas else None,
        spark=spark,
        zero=zero,
    )


def _spark(values: Sequence[float], scale: float) -> tuple[str, float]:
    width, height = SPARK
    y = height / 2 - np.asarray(values) / scale * (height / 2 - 2)
    if len(values) < 2:
        return "", height / 2
    x = np.linspace(2, width - 2, len(values))
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)), height / 2


@dataclass(frozen=True)
class Mined:
    """What became of the miner's answers.

    Attributes:
        asked: answers asked for.
        entered: skills that entered the bank.
        turned_away: reason -> count, the most frequent first.
    """

    asked: int
    entered: int
    turned_away: dict[str, int]


def mined(run: Run) -> Mined | None:
    """The run's mining; None when it never mined."""
    story = run.story
    asked = int(story.series("siri/mining/requests").values.sum())
    if not asked:
        return None
    names = {name for metrics in story.train.values() for name in metrics if name.startswith(_TURNED_AWAY)}
    counts = {name.removeprefix(_TURNED_AWAY): int(story.series(name).values.sum()) for name in names}
    listed = sorted(((name, n) for name, n in counts.items() if n), key=lambda pair: (-pair[1], pair[0]))
    return Mined(asked, len(story.bank), dict(listed))


@dataclass(frozen=True)
class Retest:
    """Skills tested again after the run, on tasks it never used (siri_verl/evaluation/retest_report.py).

    Attributes:
        file: its name.
        model: that was tested.
        level: coverage of the intervals.
        skills: one entry per skill, with `skill_id`, `task_type`, `block`, `success`.
        overall: all pairs together.
    """

    file: str
    model: str
    level: float
    skills: list[dict[str, Any]]
    overall: dict[str, Any]


def read_retests(run: Path) -> list[Retest]:
    """The re-tests in a run's folder, those that tested something.

    Raises:
        ValueError: a file is damaged or of another version; names the file.
    """
    found = []
    for file in RunFolder(run).retests():
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: no JSON ({error}); write it again with siri-verl skills retest") from error
        if not isinstance(content, dict) or "skills" not in content:
            continue  # the panel, which has the same beginning of a name
        if content.get("version") != RETEST_VERSION:
            raise ValueError(
                f"{file}: version={content.get('version')!r}, this siri_verl reads {RETEST_VERSION}; write it again "
                "with siri-verl skills retest"
            )
        model = content.get("model") or {}
        words = f"{model.get('name', 'no model')} ({model.get('folder', '')})" if model else "no model"
        if content["skills"]:
            found.append(Retest(file.name, words, content["level"], content["skills"], content["overall"]))
    return found
