# SPDX-License-Identifier: Apache-2.0
"""Borrowing: a task type without a skill of its own tries those of other types.

A borrowed skill is a copy that enters the type as a candidate. It is tested on the type's own groups, so its evidence
and its decisions are separate from those of the original.
"""

from __future__ import annotations

from collections.abc import Iterable

from siri_verl.core.rules import ACTIVE, CANDIDATE, INTERNALIZED
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Provenance, Skill

BORROWED = "borrowed"
"""Opens the miner's name in the provenance of a copy."""


def borrowable(bank: SkillBank, task_type: str) -> list[Skill]:
    """Skills of other types that the type could try: active or internalized ones by utility, then candidates by
    utility; without copies, and without strategies that the type has or had."""
    rank = {ACTIVE: 0, INTERNALIZED: 0, CANDIDATE: 1}
    skills = [
        skill
        for skill in bank.skills.values()
        if skill.status in rank
        and skill.task_type != task_type
        and not skill.provenance.miner.startswith(BORROWED)
        and not bank.find_duplicate(skill.strategy, task_type)
    ]
    return sorted(skills, key=lambda skill: (rank[skill.status], -bank.utility(skill.skill_id), skill.skill_id))


def borrow(bank: SkillBank, task_types: Iterable[str], count: int, step: int) -> list[str]:
    """Enter copies for the task types that have neither a candidate nor an active or internalized skill.

    Args:
        bank: receives the copies.
        task_types: those met so far.
        count: copies per type at most.
        step: the training step.

    Returns:
        The ids of the copies.
    """
    entered = []
    for task_type in sorted(set(task_types)):
        if any(bank.of_type(task_type, status) for status in (CANDIDATE, ACTIVE, INTERNALIZED)):
            continue
        for skill in borrowable(bank, task_type)[:count]:
            source = Provenance(
                skill.provenance.task_id, skill.provenance.trajectory, step, f"{BORROWED} {skill.skill_id}"
            )
            copy = bank.add(skill.condition, skill.strategy, task_type, source, control=skill.control).skill
            entered += [copy.skill_id] if copy else []
    return entered
