# SPDX-License-Identifier: Apache-2.0
"""The share of a task type's groups that show a skill, which falls as the gap between its arms closes
(`siri.arms.share_by_gap`)."""

from __future__ import annotations

import random

from siri_verl.core.seeding import derive_seed
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.bank import SkillBank


def group_share(settings: SiriSettings, bank: SkillBank, task_type: str) -> float:
    """The share, by the evidence in the bank; 1 where the setting is off."""
    return settings.arms.group_share(bank.book.shown.get(task_type, ()))


def shows_skill(settings: SiriSettings, bank: SkillBank, task_type: str, task_id: str, step: int) -> bool:
    """Whether the group of a task shows a skill, if its type has one; derives from seed, step and task."""
    share = group_share(settings, bank, task_type)
    return share >= 1 or random.Random(derive_seed(settings.seed, "show", step, task_id)).random() < share
