# SPDX-License-Identifier: Apache-2.0
"""Furnished rooms: which receptacles stand where, and what lies in them.

Full rooms hold every receptacle of their floor plan. Small rooms are made for a small model: seven receptacles, of
which four are in every one (sink, microwave, fridge, and a side table with the desk lamp), so that in every game
everything can be tried that a game of any task type asks for. The other three are the floor plan's own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from siri_verl.demos.alfworld.wheel import GRID, LAMPS, FloorPlan, affordances

Point = tuple[int, int, int, int]

SINK, MICROWAVE, FRIDGE, LAMP_TABLE = "SinkBasin", "Microwave", "Fridge", "SideTable"
ALWAYS = (SINK, MICROWAVE, FRIDGE, LAMP_TABLE)
"""In every small room."""
LAMP_PLACES = ("Desk", "SideTable", "Dresser", "Shelf", "CoffeeTable", "DiningTable", "TVStand")
"""Where a lamp may stand in a full room, the likeliest first."""
SURFACES = ("CounterTop", "DiningTable", "CoffeeTable", "Desk", "Shelf", "Bed", "Sofa", "ArmChair")
"""What else may stand in a small room: nothing that must be opened, so that a search is short."""
SMALL_ROOM_RECEPTACLES = 7


@dataclass(frozen=True)
class Receptacle:
    """A receptacle and the point it is used from.

    No two are used from the same one, else the second is out of reach.
    """

    id: str
    point: Point

    @property
    def type(self) -> str:
        parts = self.id.split("|")
        return parts[4] if len(parts) == 5 else parts[0]


@dataclass
class Room:
    """A furnished room.

    Attributes:
        plan: its floor plan.
        receptacles: by id.
        inside: object id -> id of the receptacle that holds it.
        start: where the agent stands first, next to nothing.
    """

    plan: FloorPlan
    receptacles: dict[str, Receptacle]
    start: Point
    inside: dict[str, str] = field(default_factory=dict)

    def of_type(self, *types: str) -> list[Receptacle]:
        """Receptacles of these types, in the room's order."""
        return [r for r in self.receptacles.values() if r.type in types]

    def put(self, kind: str, place: Receptacle, rng: random.Random) -> str:
        """Lay a new object of type `kind` there; returns its id."""
        x, y, z = (float(c) for c in place.id.split("|")[1:4])
        while True:
            name = f"{kind}|{x + rng.uniform(-0.4, 0.4):+06.2f}|{y + 0.05:+06.2f}|{z + rng.uniform(-0.4, 0.4):+06.2f}"
            if name not in self.inside:
                self.inside[name] = place.id
                return name


def object_type(name: str) -> str:
    """`Apple|+00.10|...` -> `Apple`."""
    return name.split("|", 1)[0]


class _Points:
    """Hands out standing points, each once."""

    def __init__(self, plan: FloorPlan, rng: random.Random):
        self.free = list(plan.points)
        rng.shuffle(self.free)
        self.used: set[Point] = set()

    def take(self, wanted: Point | None = None) -> Point:
        """`wanted` if nothing stands there yet, else the nearest free point; any free one where none is wanted."""
        if wanted is None:
            x, z = self.free.pop()
            wanted = (x, z, 0, 30)
        if wanted in self.used:
            x, z, turn, horizon = wanted
            looks = [(x, z, t, h) for h in (horizon, 0, 30, -30, 15, 45, -15, 60) for t in range(4)]
            near = sorted(self.free, key=lambda p: (abs(p[0] - x) + abs(p[1] - z), p))
            steps = [(px, pz, turn, horizon) for px, pz in near]
            wanted = next(p for p in (*looks[:4], *steps, *looks[4:]) if p not in self.used)
        if wanted[:2] in self.free:
            self.free.remove(wanted[:2])
        self.used.add(wanted)
        return wanted


def _named(kind: str, x: float, y: float, z: float) -> str:
    whole = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}.get(kind)
    place = f"{x:+06.2f}|{y:+06.2f}|{z:+06.2f}"
    # the package names basins by their second part, and only if the id is written this way
    return f"{whole}|{place}|{kind}" if whole else f"{kind}|{place}"


def _known(plan: FloorPlan) -> dict[str, list[tuple[str, Point]]]:
    """Receptacle type -> (id, standing point) of those the floor plan places."""
    found: dict[str, list[tuple[str, Point]]] = {}
    for name, point in plan.receptacles.items():
        parts = name.split("|")
        if len(parts) == 5:
            # floor plan 420 calls a bathtub's basin a sink's
            parts[4] = f"{parts[0]}Basin"
        name = "|".join(parts)
        found.setdefault(Receptacle(name, point).type, []).append((name, point))
    return found


def receptacle_types(plan: FloorPlan) -> list[str]:
    """Types of receptacles of a floor plan, with or without a stated position."""
    return sorted(set(_known(plan)) | (set(plan.types) & affordances().receptacles))


def _furnish(plan: FloorPlan, wanted: Iterable[tuple[str, int | None]], rng: random.Random) -> Room:
    """A room with `count` receptacles of every wanted type (None: as many as there are)."""
    points, known = _Points(plan, rng), _known(plan)
    room = Room(plan, {}, (0, 0, 0, 0))
    for kind, count in wanted:
        places = known.get(kind, [])
        if count is not None:
            places = rng.sample(places, min(count, len(places)))
        made = [Receptacle(name, points.take(point)) for name, point in sorted(places)]
        while not made or (count is not None and len(made) < count):
            point = points.take()
            made.append(Receptacle(_named(kind, point[0] * GRID, 0.9, point[1] * GRID), point))
        room.receptacles.update({r.id: r for r in made})
    room.start = points.take()
    return room


def full_room(plan: FloorPlan, rng: random.Random) -> Room:
    """Every receptacle of the floor plan; those it does not place get a standing point of their own."""
    return _furnish(plan, [(kind, None) for kind in receptacle_types(plan)], rng)


def small_room(plan: FloorPlan, target: str, rng: random.Random) -> Room:
    """Seven receptacles of seven types: ALWAYS, the target's, and two surfaces."""
    own = [kind for kind in SURFACES if kind in receptacle_types(plan) and kind != target]
    others = [kind for kind in SURFACES if kind not in own and kind != target]
    count = SMALL_ROOM_RECEPTACLES - len(ALWAYS) - (target not in ALWAYS)
    chosen = rng.sample(own, min(count, len(own)))
    chosen += others[: count - len(chosen)]
    kinds = [*dict.fromkeys((*ALWAYS, target)), *chosen]
    return _furnish(plan, [(kind, 1) for kind in kinds], rng)


def clutter(room: Room, kinds: Iterable[str], most: int, rng: random.Random) -> None:
    """Lay one to `most` objects of every kind where they may lie. A kind that fits nowhere is left out."""
    contains = affordances().contains
    for kind in kinds:
        places = [r for r in room.receptacles.values() if kind in contains.get(r.type, ())]
        for _ in range(rng.randint(1, most) if places else 0):
            room.put(kind, rng.choice(places), rng)


def place_lamps(room: Room, rng: random.Random) -> None:
    """The lamps of the floor plan, on the first kind of furniture that is there."""
    for lamp in LAMPS:
        for kind in LAMP_PLACES if lamp in room.plan.types else ():
            if places := room.of_type(kind):
                room.put(lamp, rng.choice(places), rng)
                break
