# SPDX-License-Identifier: Apache-2.0
"""The random-skills control: a summary of the same trajectory without the procedure behind its success.

If skills help because of their content, a random summary of the source trajectory, shown in place of an active skill,
must have no effect.
"""

from __future__ import annotations

import random
import re

from siri_verl.skills.leaks import specifics
from siri_verl.skills.pool import SourceTrajectory
from siri_verl.skills.skill import normalised

MOMENTS = 3
_BRACKETED = re.compile(r"^\s*(\w+)\s*\[(.*)\]\s*$", re.DOTALL)


def random_summary(episode: SourceTrajectory, seed: int) -> str:
    """A few actions of the trajectory, drawn at random and put in random order, without the source task's ids and
    answers.

    Args:
        episode: the trajectory.
        seed: of the draw.

    Returns:
        One line, such as "click features , then search , then click buy now".
    """
    quoted = specifics(episode)
    rng = random.Random(seed)
    actions = [action for _, action in episode.turns if action.strip()] or ["look around"]
    moments = rng.sample(actions, min(MOMENTS, len(actions)))
    return " , then ".join(_bare(action, quoted) for action in moments)


def _bare(action: str, quoted: dict[str, str]) -> str:
    """An action without what belongs to the one task: its verb, and its argument where that is a general one."""
    bracketed = _BRACKETED.match(action)
    if bracketed is None:
        return re.sub(r"\s*\d+", "", " ".join(action.split())) or "look around"
    verb, argument = bracketed[1].lower(), normalised(bracketed[2])
    padded = f" {argument} "
    specific = verb == "search" or not argument or any(f" {words} " in padded for words in quoted)
    return verb if specific else f"{verb} {argument}"
