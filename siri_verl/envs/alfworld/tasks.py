# SPDX-License-Identifier: Apache-2.0
"""ALFWorld's six task types, the words that name them, and where a game states its task."""

from __future__ import annotations

import re

SIMPLE, LOOK, CLEAN, HEAT, COOL, TWO = TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
"""The official names."""

TASK_TYPE_PATTERNS: dict[str, str] = {
    TWO: r"\b(?:two|both)\b",
    LOOK: r"^(?=.*\b(?:examin|look|inspect|view|see|read|hold|turn))(?=.*(?:lamp|light\b))",
    CLEAN: r"\b(?:clean|cleaned|wash|washed|rinse|rinsed)\b",
    HEAT: r"\b(?:heat|heated|hot|warm|warmed|cook|cooked|microwaved)\b|^\W*microwave\b",
    COOL: r"\b(?:cool|cooled|cold|chill|chilled|refrigerated)\b",
    SIMPLE: r"\b(?:put|place|move|find|take|bring|get|set|store)\b",
}
"""Task type -> regular expression over the task sentence; earlier entries win. A microwave or a fridge that is only the
destination names no type."""

OPENING = "Your task is to:"
TASK_RULE = re.compile(r'("task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*)("' + OPENING + r'(?:[^"\\\n]|\\.)*")')
"""Where a grammar states the task: what stands before the sentence, and the sentence as a JSON string."""


def check_states_task(grammar: str) -> None:
    """Raise ValueError unless a game's grammar states one task."""
    found = len(TASK_RULE.findall(grammar))
    if found != 1:
        raise ValueError(f"its grammar states {found} tasks")


def stated_task(observation: str) -> str:
    """The task that a game's first observation states.

    textworld derives the sentence from the grammar, where quotes, bars and brackets are syntax: the grammar's text can
    differ from what the agent reads.
    """
    return observation.partition(OPENING)[2].strip()
