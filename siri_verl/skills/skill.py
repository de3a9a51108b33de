# SPDX-License-Identifier: Apache-2.0
"""A skill, and the events that the bank records about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from siri_verl.core.decisions import Decision
from siri_verl.core.rules import ACTIVE, SkillState
from siri_verl.skills.neutral import NEUTRAL, neutral_text
from siri_verl.skills.text import skill_block

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Provenance:
    """Where a skill came from.

    Attributes:
        task_id: the task whose trajectory it was mined from, "" when written by hand.
        trajectory: that trajectory.
        step: the training step whose policy wrote it.
        miner: who wrote it: `policy`, `random` (a control), `hand`, or an endpoint's model name.
    """

    task_id: str
    trajectory: str
    step: int
    miner: str = "policy"


@dataclass(frozen=True)
class Repeat:
    """Event: a skill of the bank was mined again.

    Attributes:
        skill_id: the skill in the bank.
        provenance: the source of the repetition.
    """

    skill_id: str
    provenance: Provenance


@dataclass(frozen=True)
class Evidence:
    """Event: the treatment effect of a skill in one paired group. Means and Delta are in success units.

    Attributes:
        skill_id: the skill that the skill arm was shown.
        step: the training step.
        task_id: the group's task.
        delta: Delta_g = skill_mean - plain_mean.
        skill_mean: mean return of the skill arm.
        plain_mean: mean return of the plain arm.
        skill_n: trajectories in the skill arm.
        plain_n: trajectories in the plain arm.
    """

    skill_id: str
    step: int
    task_id: str
    delta: float
    skill_mean: float
    plain_mean: float
    skill_n: int
    plain_n: int


@dataclass
class Skill:
    """One skill of a bank, which is also the event of its entry. Its text and provenance never change.

    Attributes:
        skill_id: its name in the bank, s0001, s0002, ...
        condition: when it applies.
        strategy: what to do then.
        task_type: the type of tasks it is shown for and tested on.
        provenance: where it came from.
        neutralised: control tokens removed from its text.
        control: a random summary of the source trajectory that replaces the strategy once the skill is active, or
            `NEUTRAL`; "" outside these control runs.
        repeats: how often it was mined again.
        evidence: every group it was shown in, in order.
        decisions: every change of status, in order.
        state: status and statistics, shared with the decision book of the bank.
    """

    skill_id: str
    condition: str
    strategy: str
    task_type: str
    provenance: Provenance
    neutralised: int = 0
    control: str = ""
    repeats: int = 0
    evidence: list[Evidence] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    state: SkillState = field(init=False)

    def __post_init__(self) -> None:
        self.state = SkillState(self.skill_id, self.task_type)

    @property
    def status(self) -> str:
        """`candidate`, `active`, `retired` or `internalized`."""
        return self.state.status

    @property
    def was_active(self) -> bool:
        """Whether it is active or was before it ended."""
        return any(decision.after == ACTIVE for decision in self.decisions)

    @property
    def block(self) -> str:
        """The text of the prompt's skill section."""
        return self.control_block if self.control and self.status == ACTIVE else self.own_block

    @property
    def own_block(self) -> str:
        """The same as the policy wrote it."""
        return skill_block(self.condition, self.strategy)

    @property
    def control_block(self) -> str:
        """The same in a control run, once the skill is active; "" outside of one."""
        if self.control == NEUTRAL:
            return neutral_text(len(self.own_block.split()))
        return skill_block(self.condition, self.control) if self.control else ""

    @property
    def words(self) -> frozenset[str]:
        """The words of the strategy; near-duplicates are found by their overlap."""
        return word_set(self.strategy)


Event = Skill | Repeat | Evidence | Decision
"""What the bank records."""


def normalised(text: str) -> str:
    """The words in lower case with single spaces between them, without punctuation."""
    return " ".join(_WORD.findall(text.lower()))


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(normalised(text).split())


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared words over all words (Jaccard), in [0, 1]."""
    return len(a & b) / len(a | b) if a or b else 1.0
