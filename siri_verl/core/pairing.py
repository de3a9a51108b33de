# SPDX-License-Identifier: Apache-2.0
"""Paired groups: which trajectory belongs to which arm, and the treatment effect of a skill in its group.

A group is one task rolled out n times. Its skill arm sees a skill in the prompt, its plain arm does not; task and
environment seed are the same. The treatment effect (SIRI, phase 1) is

    Delta_g = mean R_i over the skill arm - mean R_i over the plain arm

measured here in success units, return / success reward, so that thresholds do not depend on the reward's scale. Each
trajectory counts once, however many turns it has. Without one of the arms Delta_g is undefined: no update of the
utility, gate shut.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from siri_verl.core.rows import FloatRows, as_list, check_lengths, check_present, factorize, flags, numbers

PLAIN, SKILL = "plain", "skill"
ARMS = (PLAIN, SKILL)


@dataclass(frozen=True)
class ArmPlan:
    """How many of the n sessions of a group belong to each arm. Without a skill for the task, all sessions are plain.

    Sessions 0 .. plain-1 are the plain arm, the others the skill arm.
    """

    plain: int
    skill: int

    @classmethod
    def split(cls, group_size: int, skill_share: float = 0.5) -> ArmPlan:
        """Divide `group_size` sessions between the arms so that `skill_share` of them see the skill.

        A share of 0 leaves all sessions plain: the skill is the teacher's alone.

        Raises:
            ValueError: the share does not give whole numbers, or leaves an arm empty.
        """
        if skill_share == 0:
            return cls(plain=group_size, skill=0)
        if not 0.0 < skill_share < 1.0:
            raise ValueError(
                f"arms: skill_share={skill_share}, must lie strictly between 0 and 1; both arms are needed"
            )
        skill = group_size * skill_share
        if abs(skill - round(skill)) > 1e-9 or not 1 <= round(skill) <= group_size - 1:
            raise ValueError(
                f"arms: skill_share={skill_share} of group size {group_size} is {skill:g} trajectories; choose a group "
                "size and share that give whole, non-empty arms (for example 8 and 0.5)"
            )
        return cls(plain=group_size - round(skill), skill=round(skill))

    def __post_init__(self) -> None:
        if self.plain < 1 or self.skill < 0:
            raise ValueError(
                f"arms: plain={self.plain}, skill={self.skill}; a group needs at least one plain trajectory"
            )


@dataclass(frozen=True)
class TreatmentEffect:
    """The evidence of one group about the skill it was shown.

    Attributes:
        group: the group's id.
        skill_id: the skill of its skill arm, "" when no skill was shown.
        delta: Delta_g in success units, NaN when undefined.
        skill_mean: mean return of the skill arm in success units, NaN when empty.
        plain_mean: the same of the plain arm.
        skill_n: trajectories in the skill arm.
        plain_n: trajectories in the plain arm.
        undefined: why Delta_g is undefined, "" when it is defined.
    """

    group: Hashable
    skill_id: str
    delta: float
    skill_mean: float
    plain_mean: float
    skill_n: int
    plain_n: int
    undefined: str = ""

    @property
    def defined(self) -> bool:
        """Whether Delta_g exists."""
        return not self.undefined


def treatment_effects(
    group: Sequence[Hashable],
    trajectory: Sequence[Hashable],
    arm: Sequence[str],
    skill_id: Sequence[str],
    trajectory_return: Sequence[float],
    *,
    success_reward: float,
    excluded: Sequence[bool] | None = None,
) -> dict[Hashable, TreatmentEffect]:
    """Delta_g of every group, from rows (one per turn, or one per trajectory: both give the same).

    Args:
        group: the task of the row.
        trajectory: the trajectory inside its group.
        arm: `plain` or `skill`.
        skill_id: the skill shown, "" in the plain arm.
        trajectory_return: R_i, undiscounted, the same on every row of a trajectory, in reward units.
        success_reward: the return of a solved task; the unit of Delta_g.
        excluded: True on rows that make the Delta_g of their group undefined (a lost environment, a skill that did not
            fit into the prompt).

    Returns:
        One entry per group, in order of appearance.

    Raises:
        ValueError: an arm is unknown, a skill-arm row names no skill or a plain row names one, a group shows two
            skills, the rows of a trajectory disagree, or a number is not finite. The message names the group or row.
    """
    if not (math.isfinite(success_reward) and success_reward > 0):
        raise ValueError(f"pairing: success_reward={success_reward}, must be a finite number > 0")
    columns = {
        "group": group,
        "trajectory": trajectory,
        "arm": arm,
        "skill_id": skill_id,
        "trajectory_return": trajectory_return,
    }
    lists = {name: as_list(f"pairing: {name}", column) for name, column in columns.items()}
    lists["excluded"] = [False] * len(lists["group"]) if excluded is None else as_list("pairing: excluded", excluded)
    check_lengths("pairing", lists)
    for name in ("group", "trajectory"):
        check_present(f"pairing: {name}", lists[name])
    excluded_rows = flags("pairing: excluded", lists["excluded"])
    returns = numbers("pairing: trajectory_return", lists["trajectory_return"]) / success_reward
    _check_arms(lists["arm"], lists["skill_id"])

    groups, group_ids = factorize("pairing: group", lists["group"])
    runs, _ = factorize("pairing: trajectory", list(zip(groups.tolist(), lists["trajectory"], strict=True)))
    in_skill = np.asarray([a == SKILL for a in lists["arm"]], dtype=bool)
    first = np.unique(runs, return_index=True)[1]
    for name, values in (("arm", in_skill), ("trajectory_return", returns)):
        odd = np.flatnonzero(values != values[first][runs])
        if len(odd):
            raise ValueError(
                f"pairing: {name} of row {odd[0]} differs from row {first[runs[odd[0]]]} of the same trajectory "
                f"{lists['trajectory'][odd[0]]!r}"
            )

    shown: dict[int, str] = {}
    for g, skill in zip(groups.tolist(), lists["skill_id"], strict=True):
        if skill and shown.setdefault(g, skill) != skill:
            raise ValueError(
                f"pairing: group {group_ids[g]!r} shows the skills {shown[g]!r} and {skill!r}; "
                "one Delta cannot tell them apart"
            )
    arms: list[tuple[list[float], list[float]]] = [([], []) for _ in group_ids]
    for i in first.tolist():
        arms[groups[i]][int(in_skill[i])].append(float(returns[i]))
    excluded_groups = {int(g) for g in groups[excluded_rows]}
    return {name: _effect(name, shown.get(g, ""), *arms[g], g in excluded_groups) for g, name in enumerate(group_ids)}


def effect_rows(group: Sequence[Hashable], effects: dict[Hashable, TreatmentEffect]) -> FloatRows:
    """Delta_g on every row of the group: (rows,), NaN where undefined."""
    return np.asarray([effects[g].delta for g in as_list("pairing: group", group)], dtype=np.float64)


def advantage_groups(group: Sequence[Hashable], arm: Sequence[str], arms: str = "joint") -> list[Hashable]:
    """The group ids to compute advantages with: `joint` compares all of a task, `separate` each arm with itself.

    With `separate` the arms do not share step groups either.
    """
    if arms not in ("joint", "separate"):
        raise ValueError(f"pairing: arms={arms!r}, must be joint or separate")
    groups = as_list("pairing: group", group)
    if arms == "joint":
        return groups
    return list(zip(groups, as_list("pairing: arm", arm), strict=True))


def _check_arms(arm: list[str], skill_id: list[str]) -> None:
    for i, (name, skill) in enumerate(zip(arm, skill_id, strict=True)):
        if name not in ARMS:
            raise ValueError(f"pairing: arm of row {i} is {name!r}, must be plain or skill")
        if name == SKILL and not skill:
            raise ValueError(f"pairing: row {i} is in the skill arm and names no skill; state skill_id")
        if name == PLAIN and skill:
            raise ValueError(
                f"pairing: row {i} is in the plain arm and names skill {skill!r}; a plain prompt shows none"
            )


def _effect(group: Hashable, skill_id: str, plain: list[float], skill: list[float], excluded: bool) -> TreatmentEffect:
    means = [math.fsum(x) / len(x) if x else math.nan for x in (skill, plain)]
    undefined = ""
    if excluded:
        undefined = "excluded"
    elif not skill:
        undefined = "no_skill_arm"
    elif not plain:
        undefined = "no_plain_arm"
    delta = math.nan if undefined else means[0] - means[1]
    return TreatmentEffect(group, skill_id, delta, means[0], means[1], len(skill), len(plain), undefined)
