# SPDX-License-Identifier: Apache-2.0
"""Settings of the skill writer's training."""

from __future__ import annotations

from dataclasses import dataclass

from siri_verl.failures import check_field


@dataclass
class WriterSettings:
    """The policy's own replies to mining prompts as rows that it learns from. A reply's reward is the measured effect
    of the skill that it became, z-scored over recent rewards."""

    train: bool = False
    """Learn from them."""
    groups: int = 4
    """Paired groups whose mean Delta is the reward."""
    warm_up_steps: int = 10
    """Training steps before the first reply is learned; rewards are counted from the start."""
    clip: float = 2.0
    """Largest size of an advantage."""
    window: int = 64
    """Newest rewards whose mean and standard deviation make the z-score."""

    def __post_init__(self) -> None:
        check_field(self, "siri.writer.groups", self.groups >= 1, "use at least 1")
        check_field(self, "siri.writer.warm_up_steps", self.warm_up_steps >= 0, "use 0 or more")
        check_field(self, "siri.writer.clip", self.clip > 0, "use a number > 0")
        check_field(self, "siri.writer.window", self.window >= 2, "use at least 2")
