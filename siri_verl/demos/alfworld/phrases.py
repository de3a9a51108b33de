# SPDX-License-Identifier: Apache-2.0
"""How people put a condition and a procedure into words: the same phrases for every task type and every outcome."""

from __future__ import annotations

from siri_verl.envs.alfworld.tasks import CLEAN, COOL, HEAT, LOOK, SIMPLE, TWO

CATEGORIES: dict[str, str] = {
    SIMPLE: "one thing in its place",
    LOOK: "a thing and a lamp",
    CLEAN: "a clean thing",
    HEAT: "a hot thing",
    COOL: "a cool thing",
    TWO: "two things",
}
"""Task type, as `siri.task_type.kind=alfworld` names it -> what a condition calls it."""

CONDITIONS: tuple[str, ...] = (
    "the task is about {category}",
    "the task asks for {category}",
    "{category} is wanted",
    "you are asked for {category}",
)

STRATEGIES: dict[str, tuple[str, ...]] = {
    "carry": (
        "find it and put it straight in the place",
        "take the first you see , go to the place , put it down",
        "bring it to the place without delay",
        "pick it up and move it to the place at once",
        "do nothing else with it , just put it there",
    ),
    "rinse": (
        "wash it in the sink , then put it in the place",
        "go to the sinkbasin with it first",
        "take it , rinse it under water , then bring it",
        "use the sink before you put it down",
        "wash what you found , then move it there",
    ),
    "warm": (
        "warm it in the microwave , then put it in the place",
        "go to the microwave with it first",
        "take it , make it warm , then bring it",
        "use the microwave before you put it down",
        "microwave what you found , then move it there",
    ),
    "chill": (
        "chill it with the fridge , then put it in the place",
        "let the fridge chill it , then bring it",
        "take it , make it cold at the fridge , then bring it",
        "chill it before you put it down",
        "make what you found cold , then move it there",
    ),
    "light": (
        "take it to the sidetable and turn the desklamp on",
        "hold it and switch on the lamp",
        "bring it under the light and use the lamp",
        "use the desklamp while you hold it",
        "go where the lamp stands and turn it on",
    ),
    "pair": (
        "put one in the place , then fetch another",
        "bring the first , then look for a second",
        "do it again with one more",
        "move one there , go on and bring the next",
        "after the first find another of the same kind",
    ),
    "inspect": (
        "examine it closely , then put it in the place",
        "take a good look at it before you bring it",
        "inspect what you hold , then move it there",
        "pick it up , examine it , bring it",
        "look it over first , then put it down",
    ),
    "stash": (
        "store it inside the fridge",
        "open the fridge and leave it in there",
        "shut it away in the fridge",
        "keep it in the fridge",
        "put it into the fridge and be done",
    ),
}
"""Procedure -> ways to say it."""
