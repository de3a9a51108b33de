# SPDX-License-Identifier: Apache-2.0
"""The prompt that asks a policy to write a skill from one of its trajectories, and the parser of its answer.

The prompt shows the task and, per turn, the (shortened) observation and the action. The answer is two lines:

    condition: <when the procedure applies>
    strategy: <what to do>
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from siri_verl.skills.bank import BankSettings
from siri_verl.skills.text import one_line

TrajectoryTurn = tuple[str, str]
"""(observation, action)."""


@dataclass(frozen=True)
class MiningTemplate:
    """The text around a trajectory in the prompt, and limits of length.

    Attributes:
        opening: first line.
        closing: instruction at the end, None for none.
        max_observation_chars: an observation is cut after this many characters, at the end of a word.
        max_chars: of the whole trajectory; longer ones show shorter observations, and then fewer turns.
        near_miss: the template for a trajectory that did not solve its task; None: this one.
    """

    opening: str
    closing: str | None
    max_observation_chars: int
    max_chars: int
    near_miss: MiningTemplate | None = None

    def __post_init__(self) -> None:
        for name in ("max_observation_chars", "max_chars"):
            if getattr(self, name) < 1:
                raise ValueError(f"mining template: {name} is {getattr(self, name)}; it must be at least 1")


_ANSWER_FORM = (
    "Name neither products, objects nor answers of this one task. Answer with exactly two lines:\n"
    "condition: <the kind of task this applies to>\n"
    "strategy: <the procedure, in one or two sentences>"
)
NEAR_MISS = MiningTemplate(
    opening="The following attempt nearly solved its task. Each line shows what was seen and the action taken.",
    closing=(
        "State a procedure that would have solved the task as a skill that helps with other tasks of this kind. "
        + _ANSWER_FORM
    ),
    max_observation_chars=600,
    max_chars=12_000,
)
FULL_MINING = replace(
    NEAR_MISS,
    opening="The following task was solved. Each line shows what was seen and the action taken.",
    closing=(
        "State the procedure behind this success as a skill that helps with other tasks of this kind. " + _ANSWER_FORM
    ),
    near_miss=NEAR_MISS,
)
"""For instruction-tuned models."""

COMPACT_MINING = MiningTemplate(opening="describe", closing=None, max_observation_chars=240, max_chars=1_600)
"""For the small CPU model."""

MINING_TEMPLATES = {"full": FULL_MINING, "compact": COMPACT_MINING}


def _shorten(text: str, limit: int) -> str:
    text = one_line(text)
    return (
        text if len(text) <= limit else text[: text.rfind(" ", 0, limit + 1)] if " " in text[:limit] else text[:limit]
    )


def render_mining_prompt(
    task: str, trajectory_turns: Sequence[TrajectoryTurn], template: MiningTemplate = COMPACT_MINING
) -> str:
    """The user message of a mining request.

    Args:
        task: the task text.
        trajectory_turns: in order; the final observation, which may show the outcome, is not among them.
        template: see `MINING_TEMPLATES`.

    Raises:
        ValueError: no turns.
    """
    if not trajectory_turns:
        raise ValueError("mining prompt: the trajectory has no turns; only finished episodes can be described")
    limit = template.max_observation_chars
    turns = list(trajectory_turns)
    while True:
        lines = [f"{k}: {_shorten(o, limit)} -> {one_line(a)}" for k, (o, a) in enumerate(turns, 1)]
        body = "\n".join(lines)
        if len(body) <= template.max_chars or len(turns) == 1:
            break
        if limit > 40:
            limit //= 2
        else:
            turns.pop(len(turns) // 2)  # beginning and end of an episode show most of its procedure
    parts = [template.opening, f"task: {one_line(task)}", body]
    return "\n".join(parts if template.closing is None else [*parts, template.closing])


MAX_ANSWER = 20_000
"""Characters of the longest answer that is read, thoughts left out: an endpoint may send more than was asked for."""
_THINK = re.compile(r"<think>.*?</think>", re.DOTALL)
_ANSWER = re.compile(r"\s*condition\s*:(.*?)\bstrategy\s*:(.*)", re.DOTALL | re.IGNORECASE)
_LABEL = r"(?:condition|strategy)\s*:"
# What instruction-tuned models put around the two lines.
_FENCED = re.compile(r"(.*)^[ \t]*```\w*[ \t]*\n(.*?)^[ \t]*```\s*", re.DOTALL | re.MULTILINE)
_BULLET = re.compile(rf"^[ \t]*(?:[-*\u2022>#]+|\d+[.)])[ \t]*(?={_LABEL})", re.MULTILINE | re.IGNORECASE)
_FIRST_LINE = re.compile(r"\s*((?!```)\S[^\n]*)\n\s*(?=condition\s*:)", re.IGNORECASE)


@dataclass(frozen=True)
class MinedSkill:
    """An answer's content.

    Attributes:
        condition, strategy: "" where there is a problem.
        problem: why the answer cannot be used, None when it can: "no_condition_and_strategy", "repeated_label",
            "empty_condition", "empty_strategy", "condition_too_long", "strategy_too_long" or "answer_too_long".
    """

    condition: str
    strategy: str
    problem: str | None = None


def parse_mined_skill(text: str, caps: BankSettings | None = None) -> MinedSkill:
    """Read a model's answer: "condition:" first, then "strategy:", each once and neither empty nor overlong.

    Left out are think text before the answer, also where the block was opened by the chat template; bold type, bullets
    and headings of the labels; a code fence; and one line before the answer.

    Args:
        text: the answer.
        caps: of the bank it is meant for.
    """
    caps = caps or BankSettings()
    answer = _without_thoughts(text)
    if len(answer) > MAX_ANSWER:
        return MinedSkill("", "", "answer_too_long")
    found = _ANSWER.fullmatch(_undecorated(answer))
    if found is None:
        thought, _, rest = text.partition("</think>")
        found = _ANSWER.fullmatch(_undecorated(_without_thoughts(rest))) if "<think>" not in thought else None
    if found is None:
        return MinedSkill("", "", "no_condition_and_strategy")
    condition, strategy = one_line(found[1]), one_line(found[2])
    if re.search(r"\b(condition|strategy)\s*:", f"{condition}\n{strategy}", re.IGNORECASE):
        return MinedSkill("", "", "repeated_label")
    limits = {"condition": (condition, caps.max_condition_chars), "strategy": (strategy, caps.max_strategy_chars)}
    for name, (part, limit) in limits.items():
        if not part:
            return MinedSkill("", "", f"empty_{name}")
        if len(part) > limit:
            return MinedSkill("", "", f"{name}_too_long")
    return MinedSkill(condition, strategy)


def _without_thoughts(text: str) -> str:
    """A text without think blocks. No block can end past the last closing tag, so the rest is not searched."""
    thoughts, close, rest = text.rpartition("</think>")
    return _THINK.sub(" ", thoughts + close) + rest


def _undecorated(text: str) -> str:
    """An answer without markup around its labels and without one line before them."""
    fenced = _FENCED.fullmatch(text)
    if fenced is not None:
        text = f"{fenced[1].strip()}\n{fenced[2]}"
    text = _BULLET.sub("", text.replace("**", ""))
    first = _FIRST_LINE.match(text)
    return text if first is None or re.search(_LABEL, first[1], re.IGNORECASE) else text[first.end() :]
