# SPDX-License-Identifier: Apache-2.0
"""The settings of the two arms of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siri_verl.core.uptake import measured_gap, share_of_gap
from siri_verl.failures import check_field


@dataclass
class ArmsSettings:
    """How a group is dealt to its plain and its skill arm while skills are mined and tested."""

    skill_share: float = 0.5
    """Share of a group's sessions that see the skill; the rest is plain. Both arms must come out whole. 0: no session
    sees it, and it is the token teacher's alone (rows=plain_under_skill); nothing is tested then."""
    internalization_skill_share: float | None = None
    """The same in the internalization phase; null keeps `skill_share`."""
    share_by_gap: bool = False
    """A task type's share of groups that show a skill falls as the gap between its arms closes; the others are plain:
    clip(gap / gap_full, gap_minimum, 1). The gap is a moving average of Delta over the type's groups that showed an
    active skill; it starts at `gap_full` when a skill of the type is promoted, or retired while active."""
    gap_full: float = 0.2
    """Gap, in success units, from which all groups show a skill."""
    gap_minimum: float = 0.25
    """Least share of the groups."""
    gap_alpha: float = 0.1
    """Weight of the newest Delta in the gap."""

    def __post_init__(self):
        for name in ("gap_full", "gap_minimum", "gap_alpha"):
            check_field(self, f"siri.arms.{name}", 0 < getattr(self, name) <= 1, "use a value in (0, 1]")

    def group_share(self, shown: Sequence[float]) -> float:
        """Share of a task type's groups that show a skill.

        Args:
            shown: Deltas of the type's groups that showed an active skill (`DecisionBook.shown`).
        """
        if not self.share_by_gap:
            return 1.0
        gap = measured_gap(shown, self.gap_full, self.gap_alpha)
        return share_of_gap(gap, self.gap_full, self.gap_minimum)

    def share(self, internalizing: bool) -> float:
        """The share in force."""
        if internalizing and self.internalization_skill_share is not None:
            return self.internalization_skill_share
        return self.skill_share
