# SPDX-License-Identifier: Apache-2.0
"""The initial state of a game as a PDDL problem of alfworld's domain."""

from __future__ import annotations

from collections.abc import Iterable

from siri_verl.demos.alfworld import wheel
from siri_verl.demos.alfworld.games import Game, mangled
from siri_verl.demos.alfworld.rooms import Point, object_type
from siri_verl.demos.alfworld.wheel import affordances

ABILITIES = {
    "Heatable": "heatable",
    "Coolable": "coolable",
    "Cleanable": "cleanable",
    "Toggleable": "toggleable",
    "Sliceable": "sliceable",
}


def _location(point: Point) -> str:
    return "loc|" + "|".join(str(part) for part in point)


def facts(game: Game) -> list[tuple[str, ...]]:
    """What holds at the start: (predicate, argument, ...), ids as in the room."""
    room, table = game.room, affordances()
    found: list[tuple[str, ...]] = [("atLocation", "agent1", _location(room.start))]
    for r in room.receptacles.values():
        found += [("receptacleType", r.id, f"{r.type}Type"), ("receptacleAtLocation", r.id, _location(r.point))]
        if r.type in table.openable:
            found.append(("openable", r.id))
    for name, place in room.inside.items():
        kind = object_type(name)
        where = _location(room.receptacles[place].point)
        found += [("objectType", name, f"{kind}Type"), ("inReceptacle", name, place), ("objectAtLocation", name, where)]
        if kind in table.pickupable:
            found.append(("pickupable", name))
        if kind in table.movable:
            found.append(("isReceptacleObject", name))
        found += [(word, name) for ability, word in ABILITIES.items() if kind in table.actions[ability]]
    objects = {object_type(name) for name in room.inside}
    for kind in sorted({r.type for r in room.receptacles.values()}):
        found += [("canContain", f"{kind}Type", f"{o}Type") for o in sorted(objects & table.contains.get(kind, set()))]
    return found


def problem(game: Game) -> str:
    """The whole problem file."""
    room = game.room
    points = sorted({room.start, *(r.point for r in room.receptacles.values())})
    declared: list[tuple[str, Iterable[str]]] = [
        ("agent", ["agent1"]),
        ("object", sorted(room.inside)),
        ("otype", [f"{kind}Type" for kind in sorted({object_type(name) for name in room.inside})]),
        ("rtype", [f"{kind}Type" for kind in sorted({r.type for r in room.receptacles.values()})]),
        ("receptacle", sorted(room.receptacles)),
        ("location", [_location(point) for point in points]),
    ]
    # one separator of the goal library, '#', stands for the '-' of PDDL types; it holds no id that must be spelled out
    goal = wheel.goal(game.task.type).pddl.replace("#", "-")
    goal = goal.format(obj=game.task.object, recep=game.task.place, toggle=game.task.place)
    objects = "\n".join(f"        {mangled(name)} - {kind}" for kind, names in declared for name in names)
    init = "\n".join("        (" + " ".join((head, *map(mangled, rest))) + ")" for head, *rest in facts(game))
    return (
        f"(define (problem plan_{mangled(game.trial)})\n    (:domain alfred)\n"
        f"    (:objects\n{objects}\n    )\n    (:init\n{init}\n    )\n{goal.strip()}\n"
    )
