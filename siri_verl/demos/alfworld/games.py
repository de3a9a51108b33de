# SPDX-License-Identifier: Apache-2.0
"""A game: a task in a furnished room, as the official files' contents, and the commands that win it."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from siri_verl.demos.alfworld import wheel
from siri_verl.demos.alfworld.rooms import (
    LAMP_TABLE,
    Receptacle,
    Room,
    clutter,
    full_room,
    object_type,
    place_lamps,
    small_room,
)
from siri_verl.demos.alfworld.tasks import TOOLS, Task, handy_objects, room_tasks
from siri_verl.demos.alfworld.wheel import LAMPS, affordances, floor_plan
from siri_verl.envs.alfworld.tasks import LOOK, TWO

TARGETS_SMALL = 2
"""Objects of the asked type in a small room, whatever the task type."""
DISTRACTORS_SMALL = 3


@dataclass(frozen=True)
class Game:
    """A game.

    Attributes:
        task: what it asks for.
        room: where, as it is at the start.
        sentence: the task as the player reads it.
        trial: name of its folder.
        seed: that it was drawn from.
    """

    task: Task
    room: Room
    sentence: str
    trial: str
    seed: int

    @property
    def folder(self) -> str:
        """Path inside a split."""
        return f"{self.task.folder}/{self.trial}"

    def traj_data(self) -> dict[str, Any]:
        """Content of traj_data.json: the fields that alfworld reads."""
        lit = self.task.type == LOOK
        return {
            "task_id": self.trial,
            "task_type": self.task.type,
            "pddl_params": {
                "object_target": self.task.object,
                "parent_target": "" if lit else self.task.place,
                "toggle_target": self.task.place if lit else "",
                "mrecep_target": "",
                "object_sliced": False,
            },
            "scene": {
                "floor_plan": f"FloorPlan{self.task.room}",
                "scene_num": self.task.room,
                "random_seed": self.seed,
            },
            "turk_annotations": {"anns": [{"task_desc": self.sentence, "high_descs": []}]},
        }


def _settle(task: Task, room: Room, count: int, rng: random.Random, *, apart: bool) -> None:
    """Lay `count` objects of the asked type anywhere but in the asked receptacle type.

    apart: only on open surfaces, at most one on each.
    """
    table = affordances()
    places = [
        r
        for r in room.receptacles.values()
        if task.object in table.contains.get(r.type, ())
        and r.type != task.place
        and not (apart and r.type in table.openable)
    ]
    for place in rng.sample(places, min(count, len(places))) if apart else rng.choices(places, k=count):
        room.put(task.object, place, rng)


def make_game(task: Task, seed: int, trial: str, *, small: bool) -> Game:
    """Furnish the room and lay everything out.

    Args:
        task: what is asked.
        seed: decides the rest.
        trial: name of the game's folder.
        small: a small room (see `rooms`) or a full one.
    """
    rng = random.Random(seed)
    plan = floor_plan(task.room)
    table = affordances()
    if small:
        # a game about the lamp has a receptacle that no fact mentions, so that its room looks like every other
        target = rng.choice(_targets(task)) if task.type == LOOK else task.place
        room = small_room(plan, target, rng)
        avoid = Task(task.type, task.object, target, task.room)
        _settle(avoid, room, TARGETS_SMALL, rng, apart=True)
        room.put(LAMPS[0], room.of_type(LAMP_TABLE)[0], rng)
        # no knives: nothing is to be sliced
        known = set(plan.types) | set(handy_objects())
        kinds = sorted(known & table.pickupable - {task.object, "Knife", "ButterKnife"})
        clutter(room, rng.sample(kinds, DISTRACTORS_SMALL), 1, rng)
    else:
        room = full_room(plan, rng)
        _settle(task, room, rng.randint(2, 3) if task.type == TWO else rng.randint(1, 2), rng, apart=False)
        place_lamps(room, rng)
        clutter(room, [t for t in plan.types if t in table.pickupable and t != task.object], 3, rng)
    return Game(task, room, task.sentence(rng), trial, seed)


def _targets(task: Task) -> list[str]:
    """Receptacle types that a small room of this plan can have for the object."""
    tasks = room_tasks(floor_plan(task.room), small=True)
    return sorted({t.place for t in tasks if t.object == task.object} - set(LAMPS))


def mangled(name: str) -> str:
    """An id as PDDL can spell it."""
    for mark, word in (("-", "_minus_"), ("|", "_bar_"), ("+", "_plus_"), (".", "_dot_"), (",", "_comma_")):
        name = name.replace(mark, word)
    return name


def spoken_names(room: Room) -> dict[str, str]:
    """Id of every receptacle and object -> its name in the game ("apple 1"), as alfworld numbers them: the ids of a
    type, sorted as PDDL spells them, count down."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in (*room.receptacles, *room.inside):
        kind = room.receptacles[name].type if name in room.receptacles else object_type(name)
        groups[kind.lower()].append(name)
    names = {}
    for kind, ids in groups.items():
        ids.sort(key=lambda name: mangled(name).lower())
        names.update({name: f"{kind} {len(ids) - k}" for k, name in enumerate(ids)})
    return names


def walkthrough(game: Game) -> list[str]:
    """Commands that win the game, for one who knows where everything is."""
    room, names = game.room, spoken_names(game.room)
    openable, opened = affordances().openable, set()
    commands: list[str] = []
    here: Receptacle | None = None

    def visit(place: Receptacle, inside: bool = True) -> None:
        nonlocal here
        if here != place:
            commands.append(f"go to {names[place.id]}")
            here = place
        if inside and place.type in openable and place.id not in opened:
            commands.append(f"open {names[place.id]}")
            opened.add(place.id)

    things = sorted(name for name in room.inside if object_type(name) == game.task.object)
    target = None if game.task.type == LOOK else room.of_type(game.task.place)[0]
    for thing in things[: 2 if game.task.type == TWO else 1]:
        holder = room.receptacles[room.inside[thing]]
        visit(holder)
        commands.append(f"take {names[thing]} from {names[holder.id]}")
        if game.task.type in TOOLS:
            tool = room.of_type(TOOLS[game.task.type][0])[0]
            visit(tool, inside=False)
            verb = {"Cleanable": "clean", "Heatable": "heat", "Coolable": "cool"}[TOOLS[game.task.type][1]]
            commands.append(f"{verb} {names[thing]} with {names[tool.id]}")
        if target is None:
            lamp = next(name for name in sorted(room.inside) if object_type(name) == game.task.place)
            visit(room.receptacles[room.inside[lamp]], inside=False)
            commands.append(f"use {names[lamp]}")
        else:
            visit(target)
            commands.append(f"move {names[thing]} to {names[target.id]}")
    return commands


def game_data(game: Game, problem: str) -> dict[str, Any]:
    """Content of game.tw-pddl."""
    placeholder = "UNKNOWN GOAL"
    grammar = wheel.grammar()
    if grammar.count(placeholder) != 1:
        raise wheel.AlfworldMissingError(
            f"alfworld: its grammar names {placeholder!r} {grammar.count(placeholder)} times, expected once; "
            "the grammar of alfworld 0.4.2 is read here: pip install 'alfworld==0.4.2'"
        )
    return {
        "pddl_domain": wheel.domain(),
        "grammar": grammar.replace(placeholder, game.sentence),
        "pddl_problem": problem,
        "solvable": True,
        "walkthrough": walkthrough(game),
    }
