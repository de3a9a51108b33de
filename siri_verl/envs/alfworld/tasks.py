# SPDX-License-Identifier: Apache-2.0
"""ALFWorld's six kinds of task, and the sentence in which a game states its own."""

from __future__ import annotations

import json
import re

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
"""By their official names."""

OPENING = "Your task is to:"
TASK_RULE = re.compile(r'("task"\s*:\s*\[\s*\{\s*"rhs"\s*:\s*)("' + OPENING + r'(?:[^"\\\n]|\\.)*")')
"""Where a grammar states the task: what stands before the sentence, and the sentence as a JSON string."""


def task_sentence(grammar: str) -> str:
    """What a game's grammar says after "Your task is to:".

    Raises:
        ValueError: it says so nowhere, or more than once.
    """
    found = TASK_RULE.findall(grammar)
    if len(found) != 1:
        raise ValueError(f"its grammar states {len(found)} tasks")
    return json.loads(found[0][1]).removeprefix(OPENING).strip()
