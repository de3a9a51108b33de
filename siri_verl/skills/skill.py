# SPDX-License-Identifier: Apache-2.0
"""A skill: what it says, where it came from, and everything that happened to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from siri_verl.core.decision import ACTIVE, CANDIDATE, Decision
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
class Evidence:
    """What one paired group said about a skill. Means and Delta are in success units.

    Attributes:
        step: the training step.
        task_id: the group's task.
        delta: Delta_g = skill_mean - plain_mean.
        skill_mean: mean return of the skill arm.
        plain_mean: mean return of the plain arm.
        skill_n: trajectories in the skill arm.
        plain_n: trajectories in the plain arm.
    """

    step: int
    task_id: str
    delta: float
    skill_mean: float
    plain_mean: float
    skill_n: int
    plain_n: int


@dataclass
class Skill:
    """One skill of a bank.

    Attributes:
        skill_id: its name in the bank, s0001, s0002, ...
        condition: when it applies.
        strategy: what to do then.
        task_type: the type of tasks it is shown for and tested on.
        provenance: where it came from.
        neutralised: control tokens taken out of its text.
        control: a random summary of the source trajectory that stands in the strategy's place once the skill is
            active; "" outside that control run.
        repeats: how often it was mined again.
        status: `candidate`, `active` or `retired`.
        evidence: every group it was shown in, in order.
        decisions: every change of status, in order.
    """

    skill_id: str
    condition: str
    strategy: str
    task_type: str
    provenance: Provenance
    neutralised: int = 0
    control: str = ""
    repeats: int = 0
    status: str = CANDIDATE
    evidence: list[Evidence] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def block(self) -> str:
        """The text of the prompt's skill section."""
        replaced = self.control and self.status == ACTIVE
        return skill_block(self.condition, self.control if replaced else self.strategy)

    @property
    def words(self) -> frozenset[str]:
        """What near-duplicates are recognised by: the words of the strategy."""
        return word_set(self.strategy)


def normalised(text: str) -> str:
    """Letters and digits in lower case, single spaces: texts that differ in nothing else are the same."""
    return " ".join(_WORD.findall(text.lower()))


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(normalised(text).split())


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared words over all words (Jaccard), in [0, 1]."""
    return len(a & b) / len(a | b) if a or b else 1.0
