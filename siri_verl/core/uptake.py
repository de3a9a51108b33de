# SPDX-License-Identifier: Apache-2.0
"""Uptake: how far the plain policy has taken over what a skill brought, from the skill's newest paired groups.

A group counts once per task: of several groups of one task the newest counts, so that a window of n groups covers n
tasks. Two questions are answered from the window:

- Is the effect gone? The upper end of Student's t interval of the mean Delta lies below a bound.
- Is the skill internalized? The effect is gone, the plain arm succeeds, and its success is at least a ratio of the
  skill arm's (SLIM counts a ratio of .8 as internalized: ejhshen/SLIM ab6fa89).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy import stats


class PairedGroup(NamedTuple):
    """One paired group.

    Attributes:
        task_id: its task.
        plain, skill: mean return of each arm, in success units.
        step: training step; 0 where it is not known.
        skill_n: trajectories of the skill arm; 0 where that is not known.
    """

    task_id: str
    plain: float
    skill: float
    step: int = 0
    skill_n: int = 0


@dataclass(frozen=True)
class Uptake:
    """The arms over a window of groups.

    Attributes:
        groups: how many.
        plain, skill: mean return of each arm, in success units.
        high: upper end of the interval of the mean Delta.
    """

    groups: int
    plain: float
    skill: float
    high: float

    @property
    def ratio(self) -> float:
        """plain / skill; NaN where the skill arm has no success."""
        return self.plain / self.skill if self.skill > 0 else math.nan


def fresh_groups(groups: Sequence[PairedGroup], window: int) -> list[PairedGroup]:
    """The newest groups of distinct tasks, newest first, at most `window`."""
    newest: dict[str, PairedGroup] = {}
    for group in reversed(groups):
        if len(newest) == window:
            break
        newest.setdefault(group.task_id, group)
    return list(newest.values())


def uptake(groups: Sequence[PairedGroup], window: int, level: float) -> Uptake | None:
    """The uptake over the newest `window` tasks.

    Args:
        groups: (n,) in order.
        window: tasks, at least 2.
        level: coverage of the two-sided interval, in (0, 1).

    Returns:
        None while fewer tasks have a group.
    """
    used = fresh_groups(groups, window)
    if len(used) < window:
        return None
    deltas = [group.skill - group.plain for group in used]
    mean = math.fsum(deltas) / window
    spread = math.sqrt(math.fsum((delta - mean) ** 2 for delta in deltas) / (window - 1))
    half = float(stats.t.ppf((1 + level) / 2, window - 1)) * spread / math.sqrt(window)
    plain, skill = (math.fsum(arm) / window for arm in list(zip(*used, strict=True))[1:3])
    return Uptake(window, plain, skill, mean + half)


def measured_gap(deltas: Sequence[float], start: float, alpha: float) -> float:
    """The gap between the arms of a task type: g <- (1 - alpha) g + alpha Delta, from `start`.

    Args:
        deltas: of the type's groups that showed an active skill, in order.
        start: the gap before the first of them.
        alpha: weight of the newest, in (0, 1].
    """
    gap = start
    for delta in deltas:
        gap += alpha * (delta - gap)
    return gap


def share_of_gap(gap: float, full: float, minimum: float) -> float:
    """Share of a type's groups that show a skill: clip(gap / full, minimum, 1)."""
    return min(max(gap / full, minimum), 1.0)
