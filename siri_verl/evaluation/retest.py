# SPDX-License-Identifier: Apache-2.0
"""Skills tested again after a run, on tasks that mining and testing never saw, without the trainer.

For every skill, tasks of its type are played in pairs: one episode on the plain prompt, one with the skill, same task
and same environment seed. Skills of one type share the plain episodes. The effect is that of the skill on the model
given, which matters: a skill that has been internalized no longer helps the policy that learned it, so re-test with
the model of the time of promotion too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from siri_verl.core.rules import ACTIVE
from siri_verl.core.seeding import derive_seed
from siri_verl.core.statistics import PairedEffect, paired_effect
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Evidence, Repeat, Skill
from siri_verl.trajectory.episode import Episode, EpisodePlan

PLAIN = "plain"


class RetestError(ValueError):
    """A re-test is impossible as requested. The message states why and what to do."""


@dataclass(frozen=True)
class Pair:
    """One pair: a task played without and with a skill. `counts` is False where the skill block did not fit."""

    skill_id: str
    task_id: str
    repetition: int
    plain: bool
    skill: bool
    plain_score: float
    skill_score: float
    plain_turns: int
    skill_turns: int
    counts: bool


@dataclass
class SkillResult:
    """A skill's re-test.

    Attributes:
        skill_id, task_type, status: as in the bank.
        block: the text that was shown.
        success: the effect on success.
        score: the effect on the environment's native score.
        left_out: pairs whose skill block did not fit into a prompt.
        trained_groups: groups its evidence in the run rests on.
        trained_mean: their mean Delta, None without evidence.
    """

    skill_id: str
    task_type: str
    status: str
    block: str
    success: PairedEffect
    score: PairedEffect
    left_out: int
    trained_groups: int
    trained_mean: float | None


@dataclass
class RetestReport:
    """All of it."""

    skills: list[SkillResult]
    overall: PairedEffect
    """Over the pairs of all skills, each task counted once."""
    pairs: list[Pair]
    level: float
    untested: dict[str, str] = field(default_factory=dict)
    """Skill id -> why it could not be tested."""


def choose_skills(bank: SkillBank, ids: Sequence[str] = (), ever_active: bool = False) -> list[Skill]:
    """The skills named; without names the active ones, with `ever_active` also those retired after they were active.

    Raises:
        RetestError: the bank has no skill of that name.
    """
    unknown = [skill_id for skill_id in ids if skill_id not in bank.skills]
    if unknown:
        raise RetestError(f"skill {unknown[0]}: not among the {len(bank)} skills of the bank (siri-verl skills list)")
    if ids:
        return [bank[skill_id] for skill_id in ids]
    return [s for s in bank.skills.values() if s.status == ACTIVE or (ever_active and s.was_active)]


def tasks_of_bank(bank: SkillBank) -> frozenset[str]:
    """Every task that a skill was mined from, mined again from, or tested on."""
    sources = [event.provenance.task_id for event in bank.events if isinstance(event, (Skill, Repeat))]
    tests = [event.task_id for event in bank.events if isinstance(event, Evidence)]
    return frozenset(task_id for task_id in sources + tests if task_id)


def check_fresh(task_ids: Sequence[str], used: Mapping[str, frozenset[str]]) -> None:
    """No task of the panel has been used.

    Args:
        task_ids: the panel.
        used: what for -> tasks.

    Raises:
        RetestError: names some of the tasks and what they were used for.
    """
    for purpose, tasks in used.items():
        both = sorted(tasks.intersection(task_ids))
        if both:
            shown = ", ".join(both[:3]) + (f" and {len(both) - 3} more" if len(both) > 3 else "")
            raise RetestError(
                f"panel: {shown} of its {len(task_ids)} tasks {purpose}; a skill is re-tested on fresh tasks: give the "
                "panel of another split (siri-verl data panel)"
            )


def retest(
    bank: SkillBank,
    skills: Sequence[Skill],
    type_of: Mapping[str, str],
    play: Callable[[Sequence[EpisodePlan]], list[Episode | None]],
    *,
    pairs: int = 64,
    seed: int = 0,
    level: float = 0.95,
) -> RetestReport:
    """Play the pairs and compare.

    Args:
        bank: the bank the skills are from.
        skills: which to test.
        type_of: task id -> task type, of the panel.
        play: plays plans (`EpisodePlayer.play`); a pair with an episode that is None is left out.
        pairs: pairs per skill at least; every task of the type is played equally often.
        seed: environment seeds derive from it.
        level: coverage of the intervals.

    Raises:
        RetestError: tasks were used for mining or testing, or no skill has a task of its type.
    """
    if pairs < 1:
        raise RetestError(f"pairs={pairs}: use at least 1")
    check_fresh(list(type_of), {"stand in the bank, a skill was mined from or tested on them": tasks_of_bank(bank)})
    tasks: dict[str, list[str]] = {}
    for task_id, name in type_of.items():
        tasks.setdefault(name, []).append(task_id)
    untested = {s.skill_id: f"no task of type {s.task_type!r} in the panel" for s in skills if s.task_type not in tasks}
    testable = [skill for skill in skills if skill.skill_id not in untested]
    if skills and not testable:
        wanted = ", ".join(sorted({skill.task_type for skill in skills}))
        raise RetestError(f"panel: holds tasks of types {', '.join(sorted(tasks))}, and none of the skills' ({wanted})")
    plans: dict[tuple[str, int, str], EpisodePlan] = {}
    for skill in testable:
        of_type = tasks[skill.task_type]
        for repetition in range(-(-pairs // len(of_type))):
            for task_id in of_type:
                for arm, skill_text in ((PLAIN, None), (skill.skill_id, skill.block)):
                    plans[task_id, repetition, arm] = EpisodePlan(
                        task_id,
                        # Both arms meet the same environment.
                        derive_seed(seed, "retest", "env", task_id, repetition),
                        ("retest", task_id, repetition, arm),
                        skill_text,
                    )
    played = dict(zip(plans, play(list(plans.values())), strict=True))
    made = [
        _pair(arm, task_id, repetition, plain, episode)
        for (task_id, repetition, arm), episode in played.items()
        if arm != PLAIN and episode is not None and (plain := played[task_id, repetition, PLAIN]) is not None
    ]
    results = [_result(skill, [p for p in made if p.skill_id == skill.skill_id], level) for skill in testable]
    counted = [pair for pair in made if pair.counts]
    return RetestReport(results, _success_effect(counted, level), made, level, untested)


def _pair(skill_id: str, task_id: str, repetition: int, plain: Episode, skill: Episode) -> Pair:
    return Pair(
        skill_id,
        task_id,
        repetition,
        plain.success,
        skill.success,
        plain.score,
        skill.score,
        len(plain.turns),
        len(skill.turns),
        counts=not skill.skill_missing,
    )


def _success_effect(pairs: Sequence[Pair], level: float) -> PairedEffect:
    plain, skill = [float(pair.plain) for pair in pairs], [float(pair.skill) for pair in pairs]
    return paired_effect([pair.task_id for pair in pairs], plain, skill, level=level)


def _score_effect(pairs: Sequence[Pair], level: float) -> PairedEffect:
    plain, skill = [pair.plain_score for pair in pairs], [pair.skill_score for pair in pairs]
    return paired_effect([pair.task_id for pair in pairs], plain, skill, level=level)


def _result(skill: Skill, pairs: Sequence[Pair], level: float) -> SkillResult:
    counted, evidence = [pair for pair in pairs if pair.counts], skill.evidence
    return SkillResult(
        skill.skill_id,
        skill.task_type,
        skill.status,
        skill.block,
        _success_effect(counted, level),
        _score_effect(counted, level),
        left_out=len(pairs) - len(counted),
        trained_groups=len(evidence),
        trained_mean=sum(e.delta for e in evidence) / len(evidence) if evidence else None,
    )
