# SPDX-License-Identifier: Apache-2.0
"""Rooms, objects and rules of the installed alfworld package; nothing is copied from it into this package.

The package's wheel holds the PDDL domain, the text grammar, the goals with their sentences, the affordance tables and,
for 120 rooms of AI2-THOR, which objects a room has, where its receptacles are reached from and where one can stand.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

LAMPS = ("DeskLamp", "FloorLamp")
GRID = 0.25
"""Metres between two standing points."""


class AlfworldMissingError(ImportError):
    """The alfworld package is not installed or not the one that this code reads."""


@cache
def package_folder() -> Path:
    """Folder of the installed alfworld package. It is not imported: its import makes folders in the user's home.

    Raises:
        AlfworldMissingError: not installed.
    """
    found = importlib.util.find_spec("alfworld")
    if found is None or not found.submodule_search_locations:
        raise AlfworldMissingError(
            "alfworld is not installed; generated games are made from its floor plans: pip install 'alfworld==0.4.2'"
        )
    return Path(next(iter(found.submodule_search_locations)))


def _file(*parts: str) -> Path:
    path = package_folder().joinpath(*parts)
    if not path.is_file():
        raise AlfworldMissingError(
            f"alfworld: {path} is missing; the layout of alfworld 0.4.2 is read here: pip install 'alfworld==0.4.2'"
        )
    return path


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_siri_alfworld_{name}", _file("gen", f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Affordances:
    """What can be done with which type of thing."""

    receptacles: frozenset[str]
    """Types of receptacles that stand still."""
    movable: frozenset[str]
    """Objects that can hold others."""
    openable: frozenset[str]
    contains: Mapping[str, frozenset[str]]
    """Receptacle type -> types of objects it can hold."""
    actions: Mapping[str, frozenset[str]]
    """Heatable, Coolable, Cleanable, Toggleable, Sliceable -> types of objects."""

    @property
    def pickupable(self) -> frozenset[str]:
        """Types of objects that some receptacle can hold."""
        return frozenset().union(*(self.contains[r] for r in self.receptacles if r in self.contains))


@cache
def affordances() -> Affordances:
    """The package's tables, without sliced objects (games about them are not played)."""
    tables = _module("constants")
    movable = frozenset(tables.MOVABLE_RECEPTACLES)
    whole = {
        name: frozenset(o for o in held if not o.endswith("Sliced"))
        for name, held in tables.VAL_RECEPTACLE_OBJECTS.items()
    }
    return Affordances(
        receptacles=frozenset(tables.RECEPTACLES) - movable,
        movable=movable,
        openable=frozenset(tables.OPENABLE_CLASS_LIST) - movable,
        contains=whole,
        actions={
            name: frozenset(o for o in able if not o.endswith("Sliced"))
            for name, able in tables.VAL_ACTION_OBJECTS.items()
        },
    )


@dataclass(frozen=True)
class Goal:
    """A kind of goal.

    Attributes:
        pddl: the goal with the places {obj}, {recep}, {toggle}.
        sentences: task sentences, with the same placeholders.
    """

    pddl: str
    sentences: tuple[str, ...]


@cache
def goal(task_type: str) -> Goal:
    """The package's goal of a task type."""
    entry = _module("goal_library").gdict[task_type]
    return Goal(entry["pddl"], tuple(entry["templates"]))


@cache
def domain() -> str:
    """The rules, in PDDL."""
    return _file("data", "alfred.pddl").read_text(encoding="utf-8")


@cache
def grammar() -> str:
    """The texts' grammar; its task is the placeholder UNKNOWN GOAL."""
    return _file("data", "alfred.twl2").read_text(encoding="utf-8")


@dataclass(frozen=True)
class FloorPlan:
    """A room of AI2-THOR.

    Attributes:
        number: its number.
        kind: Kitchen, LivingRoom, Bedroom or Bathroom.
        types: types of everything in it, sorted.
        receptacles: id -> (x, z, quarter turn, horizon in degrees), the standing point in steps of GRID metres.
        points: standing points (x, z) in steps.
    """

    number: int
    kind: str
    types: tuple[str, ...]
    receptacles: Mapping[str, tuple[int, int, int, int]]
    points: tuple[tuple[int, int], ...]


@cache
def room_numbers() -> dict[str, tuple[int, ...]]:
    """Kind of room -> numbers of its floor plans."""
    return {kind: tuple(numbers) for kind, numbers in _module("constants").SCENE_TYPE.items()}


@cache
def floor_plan(number: int) -> FloorPlan:
    """Read a floor plan.

    Raises:
        ValueError: no such room.
    """
    import numpy

    kind = next((k for k, numbers in room_numbers().items() if number in numbers), None)
    if kind is None:
        raise ValueError(f"floor plan: got {number}; known: 1-30, 201-230, 301-330, 401-430")
    folder = ("gen", "layouts")
    reached = json.loads(_file(*folder, f"FloorPlan{number}-openable.json").read_text(encoding="utf-8"))
    types = json.loads(_file(*folder, f"FloorPlan{number}-objects.json").read_text(encoding="utf-8"))
    points = numpy.load(_file(*folder, f"FloorPlan{number}-layout.npy"), allow_pickle=False)
    return FloorPlan(
        number=number,
        kind=kind,
        types=tuple(sorted(set(types))),
        receptacles={
            name: (round(x / GRID), round(z / GRID), round(turn / 90) % 4, round(horizon))
            for name, (x, z, turn, horizon) in sorted(reached.items())
        },
        points=tuple(sorted({(round(float(x) / GRID), round(float(z) / GRID)) for x, z in points})),
    )
