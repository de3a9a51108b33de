# SPDX-License-Identifier: Apache-2.0
"""Prompts of both arms as the trainer wrote them (siri_verl/training/prompt_log.py), for reading side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from siri_verl.runs.folder import RunFolder

MOST = 24
_HEADINGS = {
    "plain arm: prompt": "plain_prompt",
    "plain arm: reply": "plain_reply",
    "skill arm: prompt": "skill_prompt",
    "skill arm: reply": "skill_reply",
    "skill arm: the plain prompt its action is internalized on": "internalized_prompt",
}
_HEADING = re.compile("^=== (" + "|".join(map(re.escape, _HEADINGS)) + ")\n", re.MULTILINE)
_FIRST = re.compile(r"step (\d+), task (.*), skill (\S+)\n")


@dataclass(frozen=True)
class ArmPrompts:
    """The first turn of one paired task.

    Attributes:
        step, task_id, skill_id: which.
        plain_prompt, plain_reply: of the plain arm.
        skill_prompt: of the skill arm, in three parts: before its skill section, the section, and after it; the
            section is empty where the plain prompt is unknown.
        skill_reply: of the skill arm.
        internalized_prompt: the plain prompt the skill turn's action is internalized on.
    """

    step: int
    task_id: str
    skill_id: str
    plain_prompt: str
    plain_reply: str
    skill_prompt: tuple[str, str, str]
    skill_reply: str
    internalized_prompt: str


def read_prompts(run: Path) -> tuple[list[ArmPrompts], int]:
    """Up to 24 of a run's prompts, spread over its steps, the first and the last among them, and how many there are.

    Raises:
        ValueError: a file is not as the trainer writes it; names the file.
    """
    files = sorted(RunFolder(run).prompts.glob("step_*.txt"))
    return [_parse(file) for file in spread(files, MOST)], len(files)


def spread(items: Sequence, most: int) -> list:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[-1]]
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _parse(file: Path) -> ArmPrompts:
    text = file.read_text(encoding="utf-8")
    first = _FIRST.match(text)
    pieces = _HEADING.split(text)[1:]
    parts = {_HEADINGS[name]: body.strip("\n") for name, body in zip(pieces[::2], pieces[1::2], strict=True)}
    if first is None or set(parts) != set(_HEADINGS.values()):
        missing = sorted(name for name, key in _HEADINGS.items() if key not in parts)
        raise ValueError(f"{file}: not as the trainer writes it; lacks {missing or 'its first line'}; remove the file")
    step, task_id, skill_id = first.groups()
    sections = skill_section(parts.pop("skill_prompt"), parts["internalized_prompt"])
    return ArmPrompts(int(step), task_id, skill_id, skill_prompt=sections, **parts)


def skill_section(prompt: str, plain: str) -> tuple[str, str, str]:
    """The section that a skill prompt adds to the plain prompt: (before, the section, after)."""
    before = 0
    while before < min(len(prompt), len(plain)) and prompt[before] == plain[before]:
        before += 1
    after = 0
    while after < min(len(prompt), len(plain)) - before and prompt[-1 - after] == plain[-1 - after]:
        after += 1
    end = len(prompt) - after
    if before + after < len(plain):  # they differ in more than one added section
        return prompt, "", ""
    return prompt[:before], prompt[before:end], prompt[end:]
