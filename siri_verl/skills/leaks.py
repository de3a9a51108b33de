# SPDX-License-Identifier: Apache-2.0
"""Leaks: ids and answers of its source task that a skill must not quote.

A strategy with these would state the answer instead of the procedure. They are read from the source trajectory:

- the task id;
- ids: words that mix letters and digits and stand in its turns (B07XYZ1234, b0k4-m7, and the parts of the latter), and
  numbered objects of its actions (`countertop 2`), but not numbered things that only its pages show (`page 2`);
- answers: arguments of clicks that the task text asks for (`red`), whole search queries of two words or more, and
  numbers of two digits or more from the task text; beside them whatever the environment lists in
  `SourceTrajectory.answers`.
"""

from __future__ import annotations

import re

from siri_verl.skills.pool import SourceTrajectory
from siri_verl.skills.skill import normalised

_BRACKETED = re.compile(r"^\s*(\w+)\s*\[(.*)\]\s*$", re.DOTALL)
_MIXED = re.compile(r"\b(?=[\w-]*[a-z])(?=[\w-]*\d)[a-z0-9][\w-]{3,}\b", re.IGNORECASE)
_NUMBERED = re.compile(r"\b([a-z]{2,})\s+(\d+)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d{2,}")


def specifics(episode: SourceTrajectory) -> dict[str, str]:
    """What must not be quoted: normalised text -> why (`task_id`, `id`, `answer`)."""
    task = f" {normalised(episode.task)} "
    found: dict[str, str] = {}

    def note(text: str, why: str) -> None:
        words = normalised(text)
        if words:
            found.setdefault(words, why)

    note(episode.task_id, "task_id")
    for observation, action in episode.turns:
        for text in (observation, action):
            for match in _MIXED.finditer(text):
                note(match[0], "id")
                for part in match[0].split("-"):
                    if re.search(r"[a-z]", part, re.IGNORECASE) and re.search(r"\d", part):
                        note(part, "id")
        bracketed = _BRACKETED.match(action)
        if bracketed is None:
            for match in _NUMBERED.finditer(action):
                note(match[0], "id")
            continue
        verb, argument = bracketed[1].lower(), bracketed[2]
        words = normalised(argument)
        if verb == "search":
            if len(words.split()) >= 2:
                note(argument, "answer")
        elif words and f" {words} " in task:
            note(argument, "answer")
    for number in _NUMBER.findall(episode.task):
        note(number, "answer")
    for answer in episode.answers:
        note(answer, "answer")
    return found


def find_leak(text: str, episode: SourceTrajectory) -> str:
    """The first id or answer of the source task that a text quotes, as `why: words`; "" when it quotes none."""
    padded = f" {normalised(text)} "
    for words, why in specifics(episode).items():
        if f" {words} " in padded:
            return f"{why}: {words}"
    return ""
