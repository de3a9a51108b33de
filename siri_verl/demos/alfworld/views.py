# SPDX-License-Identifier: Apache-2.0
"""The content of a turn, parsed from its text: scripted procedures get the same input as the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from siri_verl.demos.alfworld.rooms import LAMP_TABLE
from siri_verl.demos.alfworld.wheel import LAMPS, affordances

_TAKE = re.compile(r"take (\S+ \d+) from (\S+ \d+)")
_MOVE = re.compile(r"move (\S+ \d+) to (\S+ \d+)")
_GO = re.compile(r"go to (\S+ \d+)")
_EXAMINE = re.compile(r"examine (\S+ \d+)")
_USE = re.compile(r"use (\S+ \d+)")
_OPEN = re.compile(r"open (\S+ \d+)")


def kind_of(name: str) -> str:
    """ "apple 2" -> "apple"."""
    return name.split(" ", 1)[0]


@cache
def _types() -> tuple[dict[str, str], dict[str, str]]:
    """Objects and places by their names in texts."""
    table = affordances()
    return {t.lower(): t for t in table.pickupable}, {t.lower(): t for t in (*table.receptacles, *LAMPS)}


@dataclass(frozen=True)
class TaskView:
    """What a task text names: the object's type and the place's, both as texts spell them.

    A task about a lamp names no place; it stands for the table where small rooms have their lamp.
    """

    object: str
    place: str


def read_task(task: str) -> TaskView:
    """Find the object and the place in one of the package's sentences.

    Raises:
        ValueError: one of them is not named.
    """
    objects, places = _types()
    words = re.findall(r"[a-z]+", task.lower())
    thing = next((word for word in words if word in objects), None)
    place = next((word for word in reversed(words) if word in places and word != thing), None)
    if thing is None or place is None:
        raise ValueError(f"task {task!r}: names no {'object' if thing is None else 'place'} of ALFWorld")
    return TaskView(thing, LAMP_TABLE.lower() if places[place] in LAMPS else place)


@dataclass(frozen=True)
class Situation:
    """One turn.

    Attributes:
        task: what is asked.
        here: the receptacle one stands at, None in the middle of the room.
        held: the object in hand.
        on_hand: objects that can be taken here.
        ways: receptacles that one can go to, in display order.
        lamps: lamps that can be used here.
        closed: whether what one stands at is closed.
        admissible: all admissible actions.
        done: own actions so far, oldest first.
    """

    task: TaskView
    here: str | None
    held: str | None
    on_hand: tuple[str, ...]
    ways: tuple[str, ...]
    lamps: tuple[str, ...]
    closed: bool
    admissible: tuple[str, ...]
    done: tuple[str, ...]

    @property
    def visited(self) -> set[str]:
        """Receptacles gone to."""
        return {found[1] for found in map(_GO.fullmatch, self.done) if found}

    @property
    def placed(self) -> set[str]:
        """Objects of the asked type that were moved to the asked place."""
        moves = [found for found in map(_MOVE.fullmatch, self.done) if found]
        return {m[1] for m in moves if kind_of(m[1]) == self.task.object and kind_of(m[2]) == self.task.place}


def read_situation(task: str, admissible: Sequence[str], done: Sequence[str]) -> Situation:
    """Read a turn.

    Args:
        task: the task text.
        admissible: admissible actions.
        done: own actions so far that the prompt shows, oldest first.
    """
    places = _types()[1]
    found = {pattern: [m for m in map(pattern.fullmatch, admissible) if m] for pattern in (_TAKE, _GO, _EXAMINE, _USE)}
    looked_at = [m[1] for m in found[_EXAMINE]]
    here = next((name for name in looked_at if kind_of(name) in places), None)
    return Situation(
        task=read_task(task),
        here=here,
        held=next((name for name in looked_at if kind_of(name) not in places), None),
        on_hand=tuple(m[1] for m in found[_TAKE]),
        ways=tuple(m[1] for m in found[_GO]),
        lamps=tuple(m[1] for m in found[_USE]),
        closed=any(_OPEN.fullmatch(action) for action in admissible),
        admissible=tuple(admissible),
        done=tuple(done),
    )
