# SPDX-License-Identifier: Apache-2.0
"""Rules that help to find skills where success is rare: which task types explore, and whether updates are damped."""

from __future__ import annotations

from collections.abc import Collection


def explores(step: int, since: int, patience: int, has_skill: bool) -> bool:
    """Whether a task type is explored: it has no skill, and no success for `patience` steps.

    Args:
        step: the training step to come.
        since: the step of the type's last success, or of its first group where it has none.
        patience: steps.
        has_skill: it has a candidate, an active or an internalized skill.
    """
    return not has_skill and step - since >= patience


def exploring_sessions(group_size: int, share: float) -> int:
    """How many sessions of a group are explored: at least one, rounded up from a half."""
    return max(1, int(group_size * share + 0.5))


def untested(solved: Collection[str], decided: Collection[str]) -> set[str]:
    """Task types with a chance that was not tested: they had a plain success, and no skill of theirs was decided about.

    Args:
        solved: types with a plain success.
        decided: types with a skill that was promoted or retired.
    """
    return set(solved) - set(decided)
