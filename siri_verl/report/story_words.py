# SPDX-License-Identifier: Apache-2.0
"""A run's story in words, as Markdown: which skills were mined, tested, promoted and retired, when and why, and what
they changed. Numbers are the run's own; nothing is claimed that they do not say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from siri_verl.core.phases import INTERNALIZATION, MINING, WARM_UP
from siri_verl.core.rules import ACTIVE, CANDIDATE, RETIRED
from siri_verl.report.story import RunStory
from siri_verl.skills.skill import Evidence, Skill

EARLY_LATE = 8
"""Groups at the beginning and at the end of a skill's life that are compared."""
LONGEST = 20
"""Skills told one by one; the bank itself lists the rest."""
INTERNAL = "siri/internalization/"


def tell(story: RunStory) -> str:
    """The whole story."""
    parts = [f"# {story.name}: the story of its skills", _course(story), _validation(story), _bank(story)]
    if story.promoted:
        parts += ["## Promoted skills", *(_promoted(story, skill) for skill in story.promoted[:LONGEST])]
        more = len(story.promoted) - LONGEST
        parts.append(f"and {more} more: `siri-verl skills list RUN --status active`" if more > 0 else "")
    parts += [_turned_down(story), _internalization(story)]
    return "\n\n".join(part for part in parts if part) + "\n"


def with_pictures(text: str, pictures: Mapping[str, Path]) -> str:
    """The story with its pictures (title -> file beside the text) at the end."""
    shown = [f"![{title}]({path.name})" for title, path in pictures.items()]
    return "\n".join([text, "## Pictures\n", "\n\n".join(shown)]) + "\n" if shown else text


# ---- the run ---------------------------------------------------------------------------------------------------------


def _course(story: RunStory) -> str:
    env_steps = story.series("siri/env_steps_total")
    size = f", {int(env_steps.values[-1]):,} environment steps" if len(env_steps) else ""
    text = f"{len(story.train)} training steps{size}."
    names = {WARM_UP: "warm-up", MINING: "mining", INTERNALIZATION: "internalization"}
    for i, span in enumerate(story.spans):
        steps = f"step {span.first}" if span.steps == 1 else f"steps {span.first} to {span.last}"
        text += f"\n- **{names[span.phase]}**: {steps}"
        arms = [
            (arm, story.series(f"siri/success_{arm}_arm").between(span.first, span.last)) for arm in ("plain", "skill")
        ]
        told = [f"{arm} arm {s.values.mean():.2f}" for arm, s in arms if len(s)]
        text += f"; success of the {', '.join(told)}" if told else ""
        if span.phase == MINING and i + 1 < len(story.spans):
            types, covered = (int(story.train[span.last][f"siri/bank/{k}"]) for k in ("task_types", "active_types"))
            text += f"; at its end {covered} of {types} task types had an active skill"
    return text


def _validation(story: RunStory) -> str:
    success = story.series("siri/val/success", "validation")
    if not len(success):
        return "No validation was made."
    points = [_validation_point(story, int(step)) for step in dict.fromkeys((success.steps[0], success.steps[-1]))]
    best = int(success.steps[int(np.argmax(success.values))])
    text = "Validation: " + ", then ".join(points) + "."
    if len(success) > 2 and best not in (success.steps[0], success.steps[-1]):
        text += f" Its highest of {len(success)} was {_validation_point(story, best)}."
    return text


def _validation_point(story: RunStory, step: int) -> str:
    m = story.validation[step]
    low, high = m.get("siri/val/success_low"), m.get("siri/val/success_high")
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{m['siri/val/success']:.3f}{interval} at step {step}"


# ---- the bank --------------------------------------------------------------------------------------------------------


def _bank(story: RunStory) -> str:
    bank = story.bank
    asked = int(story.series("siri/mining/requests").values.sum())
    turned_away = _turned_away(story)
    if not len(bank):
        if story.spans and all(span.phase == WARM_UP for span in story.spans):
            return "No skills: the run stayed in warm-up."
        if asked:
            return f"No skills: all of {asked} answers of the miner were turned away ({turned_away})."
        return "No skills: none was mined."
    skills = list(bank.skills.values())
    counts = {status: sum(s.status == status for s in skills) for status in (CANDIDATE, ACTIVE, RETIRED)}
    never = sum(s.status == RETIRED and not _was_active(s) for s in skills)
    tested, groups = sum(bool(s.evidence) for s in skills), sum(len(s.evidence) for s in skills)
    text = f"## The bank\n\n{_count(len(skills), 'skill')} entered"
    if asked:
        text += f", out of {asked} answers of the miner" + (f" (turned away: {turned_away})" if turned_away else "")
    text += (
        f". {_count(tested, 'was', 'were')} tested, in {_count(groups, 'paired group')}; "
        f"{_count(len(story.promoted), 'was', 'were')} promoted, {never} retired without promotion, "
        f"{len(story.promoted) - counts[ACTIVE]} after it. At the end {counts[ACTIVE]} active, "
        f"{_count(counts[CANDIDATE], 'candidate')}. Rule: `{bank.book.settings.decision}`."
    )
    dropped = story.series("siri/skill_dropped_groups").values.sum()
    return text + (f" In {int(dropped)} groups the skill did not fit into the prompt." if dropped else "")


def _turned_away(story: RunStory) -> str:
    prefix = "siri/mining/turned_away/"
    names = sorted({name for metrics in story.train.values() for name in metrics if name.startswith(prefix)})
    totals = {name.removeprefix(prefix): int(story.series(name).values.sum()) for name in names}
    return ", ".join(f"{reason} {count}" for reason, count in totals.items())


def _promoted(story: RunStory, skill: Skill) -> str:
    source, level = skill.provenance, story.bank.book.settings.interval_level
    origin = f"from task {source.task_id}" if source.task_id else "of unknown task"
    again = f", and {_count(skill.repeats, 'time')} more later" if skill.repeats else ""
    lines = [
        f"### {skill.skill_id}: {_quoted(skill.task_type)}",
        f"> {_quoted(skill.block)}\n",
        f"- mined at step {source.step} by {source.miner}, {_quoted(origin)}{again}",
    ]
    for d in skill.decisions:
        verb = "promoted" if d.after == ACTIVE else "retired"
        lines.append(
            f"- {verb} at step {d.step}: {d.reason}; mean Delta {d.mean:+.2f} over {_count(d.groups, 'group')} "
            f"({level:.0%} interval, valid at any time of looking: {d.low:+.2f} to {d.high:+.2f})"
        )
    after = [e for e in skill.evidence if e.step > skill.decisions[0].step]
    if after:
        lines.append(f"- shown in {_count(len(after), 'group')} since promotion: mean Delta {_mean_delta(after):+.2f}")
    if len(skill.evidence) >= 2 * EARLY_LATE:
        early, late = skill.evidence[:EARLY_LATE], skill.evidence[-EARLY_LATE:]
        lines.append(
            f"- success in its first {EARLY_LATE} groups: plain {_arm(early, 'plain')}, with it "
            f"{_arm(early, 'skill')}; in its last {EARLY_LATE}: plain {_arm(late, 'plain')}, with it "
            f"{_arm(late, 'skill')}"
        )
    validation = story.validation_of(skill.task_type)
    before = validation.between(0, skill.decisions[0].step)
    if len(before) and validation.steps[-1] > before.steps[-1]:
        lines.append(
            f"- validation of {_quoted(skill.task_type)}: {before.values[-1]:.2f} at step "
            f"{before.steps[-1]}, the last before promotion; {validation.values[-1]:.2f} at step {validation.steps[-1]}"
        )
    if skill.control and skill.status == ACTIVE:
        lines.append(f"- control run: since promotion a random summary was shown in place of {_quoted(skill.strategy)}")
    return "\n".join(lines)


def _turned_down(story: RunStory) -> str:
    """The skills that were never active: retired ones, then those under test, then those that wait."""
    others = [skill for skill in story.bank.skills.values() if not _was_active(skill)]
    others.sort(key=lambda s: (s.status != RETIRED, -len(s.evidence), s.skill_id))
    if not others:
        return ""
    rows = []
    for skill in others[:LONGEST]:
        if skill.status == RETIRED:
            fate = f"retired at step {skill.decisions[-1].step}: {skill.decisions[-1].reason}"
        else:
            fate = "under test" if skill.evidence else "waiting"
        delta = f"{_mean_delta(skill.evidence):+.2f}" if skill.evidence else "-"
        numbers = (str(skill.provenance.step), str(len(skill.evidence)), delta)
        cells = (skill.skill_id, skill.task_type, *numbers, fate, skill.block)
        rows.append("| " + " | ".join(_quoted(cell).replace("|", "\\|") for cell in cells) + " |")
    head = ["| skill | type | mined at | groups | mean Delta | fate | says |", "|---|---|---|---|---|---|---|"]
    more = len(others) - len(rows)
    rest = f"\n\nand {more} more: `siri-verl skills list RUN`" if more else ""
    return "## Skills that were not promoted\n\n" + "\n".join([*head, *rows]) + rest


# ---- internalization -------------------------------------------------------------------------------------------------


def _internalization(story: RunStory) -> str:
    span = story.span(INTERNALIZATION)
    if span is None:
        return ""
    get = {name: story.series(INTERNAL + name).between(span.first, span.last) for name in _GATE_METRICS}
    tokens = get["tokens_gated"]
    if not len(tokens):
        return f"## Internalization\n\n{_count(span.steps, 'step')}, and no turn passed the gate."
    lines = [
        f"- the gate let something through in {len(tokens)} of {_count(span.steps, 'step')}: per step "
        f"{get['rows_gated'].values.mean():.1f} turns and {tokens.values.mean():.0f} tokens, "
        f"{get['rows_weighted'].values.mean():.1f} turns with a positive weight (mean weight "
        f"{get['weight_mean'].values.mean():.2f})",
        f"- lambda reached {get['lambda'].values.max():.3g}" if len(get["lambda"]) else "",
        _log_prob_line("gated tokens", get["plain_log_prob_mean"].values),
        _log_prob_line("gated tokens of positive weight", get["plain_log_prob_weighted_mean"].values),
    ]
    if get["already_known"].values.any():
        known = int(get["already_known"].values.sum())
        lines.append(
            f"- in {_count(known, 'step')} the plain policy already knew the gated tokens: little was left to learn"
        )
    mining = story.span(MINING)
    lines.append(
        f"- for the self-imitation control: `TOKENS={max(1, round(tokens.values.sum() / span.steps))} "
        f"MINING_STEPS={mining.steps if mining else 1}` (recipes/ablations/self_imitation.sh)"
    )
    return "## Internalization\n\n" + "\n".join(line for line in lines if line)


_GATE_METRICS = (
    *("rows_gated", "rows_weighted", "tokens_gated", "weight_mean", "lambda"),
    *("plain_log_prob_mean", "plain_log_prob_weighted_mean", "already_known"),
)


def _log_prob_line(what: str, values: np.ndarray) -> str:
    if not len(values):
        return ""
    ends = f"{values[0]:.2f} in the first step, {values[-1]:.2f} in the last" if len(values) > 1 else f"{values[0]:.2f}"
    return f"- mean log-prob of {what} on the plain prompt: {ends}"


# ---- small words -----------------------------------------------------------------------------------------------------


def _was_active(skill: Skill) -> bool:
    return any(d.after == ACTIVE for d in skill.decisions)


def _mean_delta(evidence: Sequence[Evidence]) -> float:
    return math.fsum(e.delta for e in evidence) / len(evidence)


def _arm(evidence: Iterable[Evidence], arm: str) -> str:
    values = [getattr(e, f"{arm}_mean") for e in evidence]
    return f"{sum(values) / len(values):.2f}"


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _quoted(text: str) -> str:
    """Text of a model as one line that Markdown takes literally."""
    return " ".join("".join(f"\\{c}" if c in "\\`*_<>[]#" else c for c in text).split())
