# SPDX-License-Identifier: Apache-2.0
"""Which tasks a room allows, and which panel each belongs to.

A task is (task type, object, receptacle or lamp, room). Panels share none: which one owns a task is drawn from the
task's name alone, so that games of other seeds, too, keep out of each other's panels. UNSEEN_ROOMS belong to one panel.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache

from siri_verl.core.seeding import derive_seed
from siri_verl.demos.alfworld.rooms import ALWAYS, FRIDGE, LAMP_PLACES, MICROWAVE, SINK, receptacle_types
from siri_verl.demos.alfworld.wheel import LAMPS, FloorPlan, affordances, floor_plan, goal, room_numbers
from siri_verl.envs.alfworld.tasks import CLEAN, COOL, HEAT, LOOK, TASK_TYPES

TOOLS = {CLEAN: (SINK, "Cleanable"), HEAT: (MICROWAVE, "Heatable"), COOL: (FRIDGE, "Coolable")}
"""Task type -> (receptacle needed, what the object must be)."""

UNSEEN_ROOMS = (10, 219, 308, 424)
"""The official unseen rooms, one of each kind."""

WARM_START, TRAIN, VALID_SEEN, VALID_UNSEEN = PANELS = ("warm_start", "train", "valid_seen", "valid_unseen")
_SHARES = ((WARM_START, 30), (TRAIN, 50), (VALID_SEEN, 20))
"""Percent of the tasks of seen rooms."""


@dataclass(frozen=True)
class Task:
    """What a game asks for, and where.

    Attributes:
        type: one of TASK_TYPES.
        object: type of the object.
        place: type of the receptacle it must go to, of the lamp for LOOK.
        room: floor plan's number.
    """

    type: str
    object: str
    place: str
    room: int

    @property
    def folder(self) -> str:
        """The official name of its folder."""
        return f"{self.type}-{self.object}-None-{self.place}-{self.room}"

    @property
    def panel(self) -> str:
        """The panel that owns it."""
        if self.room in UNSEEN_ROOMS:
            return VALID_UNSEEN
        drawn = derive_seed(0, "alfworld_demo panel", self.folder) % 100
        for panel, share in _SHARES:
            if drawn < share:
                return panel
            drawn -= share
        raise AssertionError("shares sum to 100")

    def sentence(self, rng: random.Random) -> str:
        """The task sentence: one of the package's."""
        return rng.choice(goal(self.type).sentences).format(
            obj=self.object.lower(), recep=self.place.lower(), toggle=self.place.lower(), mrecep=""
        )


def handy_objects() -> tuple[str, ...]:
    """Objects that can be cleaned, heated and cooled: small rooms' tasks are about these, so that no task type is
    known by its object."""
    able = affordances().actions
    return tuple(sorted(able["Cleanable"] & able["Heatable"] & able["Coolable"]))


def _pairs(plan: FloorPlan, small: bool) -> Iterator[tuple[str, str]]:
    """(object, receptacle) that a room allows."""
    table, kinds = affordances(), receptacle_types(plan)
    objects = handy_objects() if small else tuple(t for t in plan.types if t in table.pickupable)
    for thing in objects:
        homes = [kind for kind in kinds if thing in table.contains.get(kind, ())]
        for place in homes:
            if small and place in ALWAYS:
                continue
            if small or len(homes) > 1:
                yield thing, place


def room_tasks(plan: FloorPlan, *, small: bool) -> list[Task]:
    """Every task of a room."""
    table, kinds, found = affordances(), receptacle_types(plan), []
    pairs = list(_pairs(plan, small))
    for task_type in TASK_TYPES:
        if task_type == LOOK:
            lit = any(kind in LAMP_PLACES for kind in kinds)
            lamps = [LAMPS[0]] if small else [lamp for lamp in LAMPS if lamp in plan.types and lit]
            chosen = [(thing, lamp) for thing in dict.fromkeys(thing for thing, _ in pairs) for lamp in lamps]
        elif task_type in TOOLS:
            tool, ability = TOOLS[task_type]
            able = table.actions[ability] if small or tool in kinds else frozenset()
            chosen = [(thing, place) for thing, place in pairs if thing in able and place != tool]
        else:
            chosen = pairs
        found += [Task(task_type, thing, place, plan.number) for thing, place in chosen]
    return found


@cache
def panel_tasks(panel: str, *, small: bool) -> dict[str, dict[int, tuple[Task, ...]]]:
    """Task type -> room -> the panel's tasks there."""
    numbers = [n for listed in room_numbers().values() for n in listed]
    found: dict[str, dict[int, tuple[Task, ...]]] = {task_type: {} for task_type in TASK_TYPES}
    for number in numbers if panel != VALID_UNSEEN else UNSEEN_ROOMS:
        owned = [task for task in room_tasks(floor_plan(number), small=small) if task.panel == panel]
        for task_type in TASK_TYPES:
            if here := tuple(task for task in owned if task.type == task_type):
                found[task_type][number] = here
    return found


def draw_tasks(panel: str, count: int, rng: random.Random, *, small: bool, types: Collection[str] = TASK_TYPES):
    """`count` tasks of a panel, evenly over task types; rooms are drawn first, so that none stands out by its number
    of tasks.

    Raises:
        ValueError: an unknown panel or task type.
    """
    if panel not in PANELS:
        raise ValueError(f"panel: got {panel!r}; known: {', '.join(PANELS)}")
    if not types or set(types) - set(TASK_TYPES):
        raise ValueError(f"task types: got {sorted(types)}; known: {', '.join(TASK_TYPES)}")
    tasks = panel_tasks(panel, small=small)
    order = [t for t in TASK_TYPES if t in types]
    drawn = []
    for k in range(count):
        rooms = tasks[order[k % len(order)]]
        drawn.append(rng.choice(rooms[rng.choice(sorted(rooms))]))
    return drawn
