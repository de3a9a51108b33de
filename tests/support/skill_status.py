# SPDX-License-Identifier: Apache-2.0
"""A skill in the status that a test needs, reached by a recorded decision as in a run."""

from __future__ import annotations

from siri_verl.core.decisions import Decision
from siri_verl.skills.bank import SkillBank


def decide(bank: SkillBank, skill_id: str, after: str) -> None:
    """Append a decision that moves a skill of the bank to a status."""
    bank.replay_decision(Decision(skill_id, 1, bank[skill_id].status, after, "ema", "", 1, 0.0, -1.0, 1.0, 0.0))
