# SPDX-License-Identifier: Apache-2.0
"""Eight scripted procedures. Each can be followed in every small room; which one pays where is not known here.

A procedure maps what the prompt shows (task, admissible actions, own actions so far) to an action, in any situation: a
stray action does not derail it. All look for the object in the same way and differ in what they do with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

from siri_verl.demos.alfworld.rooms import FRIDGE, LAMP_TABLE, MICROWAVE, SINK, SURFACES
from siri_verl.demos.alfworld.views import Situation, TaskView, kind_of
from siri_verl.demos.alfworld.wheel import affordances

Procedure = Callable[[Situation], str]

IDLE = "look"
"""The action of a procedure that is finished while the episode continues."""
_SEARCH_ORDER = [kind.lower() for kind in (LAMP_TABLE, SINK, *SURFACES)]


@cache
def _openable(name: str) -> bool:
    return kind_of(name) in {kind.lower() for kind in affordances().openable}


def _at(s: Situation, kind: str) -> bool:
    return s.here is not None and kind_of(s.here) == kind


def _go(s: Situation, kind: str) -> str:
    """To the first receptacle of a type; where there is none, look around."""
    return next((f"go to {name}" for name in s.ways if kind_of(name) == kind), IDLE)


def search(s: Situation) -> str:
    """The next place to look for the object: open surfaces first, in a fixed order, then what must be opened."""
    if s.here is not None and s.closed and kind_of(s.here) != s.task.place:
        return f"open {s.here}"
    fresh = [name for name in s.ways if name not in s.visited and kind_of(name) != s.task.place]

    def rank(name: str) -> tuple[bool, int]:
        kind = kind_of(name)
        return _openable(name), _SEARCH_ORDER.index(kind) if kind in _SEARCH_ORDER else len(_SEARCH_ORDER)

    return f"go to {min(fresh, key=rank)}" if fresh else IDLE


def _put(s: Situation, kind: str) -> str:
    """Bring what is held to the first receptacle of a type."""
    if not _at(s, kind):
        return _go(s, kind)
    return f"open {s.here}" if s.closed else f"move {s.held} to {s.here}"


def _fetch(s: Situation) -> str:
    """Get hold of an object of the asked type that was not brought yet; put down anything else first."""
    if s.held is not None:
        drop = f"move {s.held} to {s.here}"
        return drop if drop in s.admissible else _put(s, LAMP_TABLE.lower())
    wanted = [name for name in s.on_hand if kind_of(name) == s.task.object]
    return f"take {wanted[0]} from {s.here}" if wanted and not _at(s, s.task.place) else search(s)


def _holds(s: Situation) -> bool:
    return s.held is not None and kind_of(s.held) == s.task.object


def _bring(s: Situation, count: int = 1) -> str:
    """Put `count` objects into the asked place."""
    if len(s.placed) >= count:
        return IDLE
    return _put(s, s.task.place) if _holds(s) else _fetch(s)


def _treat(s: Situation, verb: str, tool: str) -> str:
    """Do something to the object with a receptacle, then put it into the asked place."""
    tool = tool.lower()
    if _holds(s) and not any(action.startswith(f"{verb} {s.held} with") for action in s.done):
        return f"{verb} {s.held} with {s.here}" if _at(s, tool) else _go(s, tool)
    return _bring(s)


def carry(s: Situation) -> str:
    """Take the object to the place."""
    return _bring(s)


def rinse(s: Situation) -> str:
    """Clean the object in the sink, then take it to the place."""
    return _treat(s, "clean", SINK)


def warm(s: Situation) -> str:
    """Heat the object in the microwave, then take it to the place."""
    return _treat(s, "heat", MICROWAVE)


def chill(s: Situation) -> str:
    """Cool the object in the fridge, then take it to the place."""
    return _treat(s, "cool", FRIDGE)


def light(s: Situation) -> str:
    """Take the object to the lamp and use the lamp."""
    if any(action.startswith("use ") for action in s.done):
        return IDLE
    if not _holds(s):
        return _fetch(s)
    return f"use {s.lamps[0]}" if s.lamps else _go(s, LAMP_TABLE.lower())


def pair(s: Situation) -> str:
    """Take one object to the place, then a second one."""
    return _bring(s, 2)


def inspect(s: Situation) -> str:
    """Examine the object, then take it to the place."""
    if _holds(s) and f"examine {s.held}" not in s.done:
        return f"examine {s.held}"
    return _bring(s)


def stash(s: Situation) -> str:
    """Put the object into the fridge."""
    fridge = FRIDGE.lower()
    if any(re.fullmatch(rf"move {s.task.object} \d+ to {fridge} \d+", action) for action in s.done):
        return IDLE
    return _put(s, fridge) if _holds(s) else _fetch(s)


PROCEDURES: dict[str, Procedure] = {f.__name__: f for f in (carry, rinse, warm, chill, light, pair, inspect, stash)}


def facts(s: Situation) -> str:
    """What is in hand and whether the object is seen, in a few words: the same for every procedure."""
    seen = [name for name in s.on_hand if kind_of(name) == s.task.object]
    return f"hold {s.held or 'nothing'} , see {seen[0] if seen else f'no {s.task.object}'}"


def observed_procedure(task: TaskView, actions: Sequence[str]) -> str | None:
    """Name the procedure that a trajectory shows, from its actions alone; None if it shows none."""
    for verb, name in (("clean", "rinse"), ("heat", "warm"), ("cool", "chill")):
        if any(action.startswith(f"{verb} {task.object} ") for action in actions):
            return name
    if any(action.startswith("use ") for action in actions):
        return "light"
    if any(action.startswith(f"examine {task.object} ") for action in actions):
        return "inspect"
    moves = [re.fullmatch(rf"move ({task.object} \d+) to (\S+) \d+", action) for action in actions]
    brought = {m[1] for m in moves if m and m[2] == task.place}
    if any(m and m[2] == FRIDGE.lower() for m in moves):
        return "stash"
    if brought:
        return "pair" if len(brought) > 1 else "carry"
    return None
