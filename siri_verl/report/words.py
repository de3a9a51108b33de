# SPDX-License-Identifier: Apache-2.0
"""A run in words, as Markdown: which skills were mined, tested, promoted and retired, when and why, and what they
changed. All numbers are the run's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from siri_verl.core.phases import INTERNALIZATION, MINING, WARM_UP
from siri_verl.core.rules import ACTIVE, CANDIDATE, INTERNALIZED, RETIRED
from siri_verl.report.reader import Run
from siri_verl.report.skills import SkillLife, by_fate, mean_delta, mined, skill_lives
from siri_verl.skills.neutral import NEUTRAL
from siri_verl.skills.skill import Evidence

EARLY_LATE = 8
"""Groups at the beginning and at the end of a skill's life that are compared."""
LONGEST = 20
"""Skills described one by one; the bank itself lists the rest."""
INTERNAL = "siri/internalization/"
GATE_METRICS = (
    *("rows_gated", "rows_weighted", "tokens_gated", "weight_mean", "lambda"),
    *("plain_log_prob_mean", "plain_log_prob_weighted_mean", "deciding_tokens", "deciding_share"),
    *("deciding_plain_log_prob_mean", "deciding_skill_log_prob_mean"),
)


def describe(run: Run) -> str:
    """The whole text."""
    promoted, tested, waiting = by_fate(skill_lives(run.bank))
    parts = [f"# {run.name}: the story of its skills", _phases(run), _validation(run), _bank(run)]
    if promoted:
        parts += ["## Promoted skills", *(_promoted(run, life) for life in promoted[:LONGEST])]
        more = len(promoted) - LONGEST
        parts.append(f"and {more} more: `siri-verl skills list RUN --status active`" if more > 0 else "")
    parts += [_not_promoted([*tested, *waiting]), _internalization(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def with_pictures(text: str, pictures: Mapping[str, Path]) -> str:
    """The text with its pictures (title -> file beside the text) at the end."""
    shown = [f"![{title}]({path.name})" for title, path in pictures.items()]
    return "\n".join([text, "## Pictures\n", "\n\n".join(shown)]) + "\n" if shown else text


def _phases(run: Run) -> str:
    size = f", {run.env_steps:,} environment steps" if run.env_steps is not None else ""
    text = f"{len(run.train)} training steps{size}."
    for i, span in enumerate(run.spans):
        steps = f"step {span.first}" if span.steps == 1 else f"steps {span.first} to {span.last}"
        text += f"\n- **{span.phase.replace('_', '-')}**: {steps}"
        arms = {arm: run.series(f"siri/success_{arm}_arm").between(span.first, span.last) for arm in ("plain", "skill")}
        means = [f"{arm} arm {series.values.mean():.2f}" for arm, series in arms.items() if len(series)]
        text += f"; success of the {', '.join(means)}" if means else ""
        if span.phase == MINING and i + 1 < len(run.spans):
            types, covered = (int(run.train[span.last][f"siri/bank/{k}"]) for k in ("task_types", "active_types"))
            text += f"; at its end {covered} of {types} task types had an active skill"
    return text


def _validation(run: Run) -> str:
    success = run.series("siri/val/success", "validation")
    if not len(success):
        return "No validation was made."
    ends = list(dict.fromkeys((int(success.steps[0]), int(success.steps[-1]))))
    best = int(success.steps[int(np.argmax(success.values))])
    text = "Validation: " + ", then ".join(_validation_point(run, step) for step in ends) + "."
    if best not in ends:
        text += f" Its highest of {len(success)} was {_validation_point(run, best)}."
    return text


def _validation_point(run: Run, step: int) -> str:
    m = run.validation[step]
    low, high = m.get("siri/val/success_low"), m.get("siri/val/success_high")
    interval = f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return f"{m['siri/val/success']:.3f}{interval} at step {step}"


def _bank(run: Run) -> str:
    mining, counts = mined(run), run.bank_counts
    reasons = ", ".join(f"{reason} {count}" for reason, count in mining.turned_away.items())
    if not len(run.bank):
        if run.spans and all(span.phase == WARM_UP for span in run.spans):
            return "No skills: the run stayed in warm-up."
        if mining.asked:
            return f"No skills: all of {mining.asked} answers of the miner were turned away ({reasons})."
        return "No skills: none was mined."
    skills = list(run.bank.skills.values())
    never = sum(skill.status == RETIRED and not skill.was_active for skill in skills)
    tested = sum(bool(skill.evidence) for skill in skills)
    text = f"## The bank\n\n{_count(len(skills), 'skill')} entered"
    if mining.asked:
        text += f", out of {mining.asked} answers of the miner" + (f" (turned away: {reasons})" if reasons else "")
    internalized = counts[INTERNALIZED]
    ended = f", {internalized} ended as internalized" if internalized else ""
    text += (
        f". {_count(tested, 'was', 'were')} tested, in {_count(len(run.evidence), 'paired group')}; "
        f"{_count(counts['promoted'], 'was', 'were')} promoted, {never} retired without promotion, "
        f"{counts['promoted'] - counts[ACTIVE] - internalized} after it{ended}. At the end {counts[ACTIVE]} active, "
        f"{_count(counts[CANDIDATE], 'candidate')}. Rule: `{run.bank.book.settings.decision}`."
    )
    dropped = run.series("siri/skill_dropped_groups").values.sum()
    return text + (f" In {int(dropped)} groups the skill did not fit into the prompt." if dropped else "")


def _promoted(run: Run, life: SkillLife) -> str:
    skill, source = life.skill, life.skill.provenance
    origin = f"from task {source.task_id}" if source.task_id else "of unknown task"
    again = f", and {_count(skill.repeats, 'time')} more later" if skill.repeats else ""
    lines = [
        f"### {skill.skill_id}: {_quoted(skill.task_type)}",
        f"> {_quoted(skill.block)}\n",
        f"- mined at step {source.step} by {source.miner}, {_quoted(origin)}{again}",
    ]
    for d in skill.decisions:
        verb = "promoted" if d.after == ACTIVE else d.after
        lines.append(
            f"- {verb} at step {d.step}: {d.reason}; mean Delta {d.mean:+.2f} over {_count(d.groups, 'group')} "
            f"({life.level:.0%} interval, valid at any time of looking: {d.low:+.2f} to {d.high:+.2f})"
        )
    promotion = skill.decisions[0].step
    after = [e for e in skill.evidence if e.step > promotion]
    if after:
        lines.append(f"- shown in {_count(len(after), 'group')} since promotion: mean Delta {mean_delta(after):+.2f}")
    if len(skill.evidence) >= 2 * EARLY_LATE:
        first, last = _arms(skill.evidence[:EARLY_LATE]), _arms(skill.evidence[-EARLY_LATE:])
        lines.append(f"- success in its first {EARLY_LATE} groups: {first}; in its last {EARLY_LATE}: {last}")
    validation = run.validation_of(skill.task_type)
    before = validation.between(0, promotion)
    if len(before) and validation.steps[-1] > before.steps[-1]:
        lines.append(
            f"- validation of {_quoted(skill.task_type)}: {before.values[-1]:.2f} at step "
            f"{before.steps[-1]}, the last before promotion; {validation.values[-1]:.2f} at step {validation.steps[-1]}"
        )
    if skill.control and skill.status == ACTIVE:
        shown = "a neutral text" if skill.control == NEUTRAL else "a random summary"
        lines.append(f"- control run: since promotion {shown} was shown in place of {_quoted(skill.strategy)}")
    return "\n".join(lines)


def _not_promoted(lives: Sequence[SkillLife]) -> str:
    if not lives:
        return ""
    rows = ["| skill | type | mined at | groups | mean Delta | fate | text |", "|---|---|---|---|---|---|---|"]
    for life in lives[:LONGEST]:
        skill, delta = life.skill, "-" if life.mean_delta is None else f"{life.mean_delta:+.2f}"
        numbers = (str(skill.provenance.step), str(len(skill.evidence)), delta)
        cells = (skill.skill_id, skill.task_type, *numbers, life.fate, skill.block)
        rows.append("| " + " | ".join(_quoted(cell).replace("|", "\\|") for cell in cells) + " |")
    more = len(lives) - LONGEST
    rest = f"\n\nand {more} more: `siri-verl skills list RUN`" if more > 0 else ""
    return "## Skills that were not promoted\n\n" + "\n".join(rows) + rest


def _internalization(run: Run) -> str:
    span, mining = run.span(INTERNALIZATION), run.span(MINING)
    if span is None:
        return ""
    get = {name: run.series(INTERNAL + name).between(span.first, span.last).values for name in GATE_METRICS}
    tokens = get["tokens_gated"]
    if not len(tokens):
        return f"## Internalization\n\n{_count(span.steps, 'step')}, and no turn passed the gate."
    lines = [
        f"- turns passed the gate in {len(tokens)} of {_count(span.steps, 'step')}: per step "
        f"{get['rows_gated'].mean():.1f} turns and {tokens.mean():.0f} tokens, {get['rows_weighted'].mean():.1f} turns "
        f"with a positive weight (mean weight {get['weight_mean'].mean():.2f})",
        f"- lambda reached {get['lambda'].max():.3g}" if len(get["lambda"]) else "",
        _deciding(get["deciding_tokens"], get["deciding_share"]),
        _log_probs("deciding tokens on the plain prompt", get["deciding_plain_log_prob_mean"]),
        _log_probs("deciding tokens on the skill prompt", get["deciding_skill_log_prob_mean"]),
        _log_probs("all gated tokens on the plain prompt", get["plain_log_prob_mean"]),
        _log_probs("gated tokens of positive weight on the plain prompt", get["plain_log_prob_weighted_mean"]),
        f"- for the self-imitation control: `TOKENS={max(1, round(tokens.sum() / span.steps))} "
        f"MINING_STEPS={mining.steps if mining else 1}` (recipes/ablations/self_imitation.sh)",
    ]
    return "## Internalization\n\n" + "\n".join(line for line in lines if line)


def _deciding(count: np.ndarray, share: np.ndarray) -> str:
    if not len(count):
        return ""
    return (
        "- deciding tokens, more than twice as probable on the skill prompt as on the plain prompt: "
        f"{count.mean():.1f} per step, {share.mean():.1%} of the tokens of positive weight"
    )


def _log_probs(what: str, values: np.ndarray) -> str:
    """The first and the last value; steps without a deciding token have none."""
    if not len(values):
        return ""
    ends = (
        f"{values[0]:.2f} in the first step, {values[-1]:.2f} in the last step"
        if len(values) > 1
        else f"{values[0]:.2f}"
    )
    return f"- mean log-prob of {what}: {ends}"


def _arms(evidence: Iterable[Evidence]) -> str:
    plain, skill = np.mean([(e.plain_mean, e.skill_mean) for e in evidence], axis=0)
    return f"plain {plain:.2f}, with it {skill:.2f}"


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _quoted(text: str) -> str:
    """Text of a model as one line that Markdown takes literally."""
    return " ".join("".join(f"\\{c}" if c in "\\`*_<>[]#" else c for c in text).split())
