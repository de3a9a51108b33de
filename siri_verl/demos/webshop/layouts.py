# SPDX-License-Identifier: Apache-2.0
"""How the eight products of a family stand to each other in each department.

A search for the family's name returns its products in the order of their asins (their index texts have equal length and
hold the name equally often), four on a page. In every department one slot is right: it has the goal's attribute and its
price is under the cap. The others are near misses: the attribute is lacking, or the price is above the cap. Where the
right slot is and where its attribute shows differs, and with it the procedure that finds it:

| department | right slot | what finds it |
|---|---|---|
| closet | first, and the two options named count | choosing every option named |
| kitchen | first | buying at once |
| garden | the cheapest on page 1, the others above the cap | taking the cheapest |
| bath | first or second, attribute in its features only | opening features before deciding |
| pets | first on page 2, a near-duplicate of the very first | looking at page 2 |
| office | deep in the list, attribute in title and description | naming the attribute in the query |

The first product is never the cheapest on page 1, except in one of ten families of the garden. Everywhere but in the
office and the closet a bait names the attribute in its title at a price above the cap, so that naming the attribute in
the query does not help.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

PER_PAGE = 4
FAMILY_SIZE = 8


@dataclass(frozen=True)
class Slot:
    """One product's place in its family.

    Attributes:
        where: where the goal's attribute shows: "title" (title, description and features), "description", "features",
            or "nowhere" (it is lacking).
        price: "goal", "low" (under the cap) or "high" (above it).
        right: whether it is the product asked for.
    """

    where: str
    price: str
    right: bool = False


LACKING = Slot("nowhere", "low")
BAIT = Slot("title", "high")


def closet(rng: random.Random) -> list[Slot]:
    others = [LACKING, Slot("features", "high"), LACKING]
    rng.shuffle(others)
    return [Slot("title", "goal", True), *others, LACKING, Slot("features", "high"), LACKING, LACKING]


def kitchen(rng: random.Random) -> list[Slot]:
    return [Slot("description", "goal", True), *[LACKING] * 5, BAIT, LACKING]


def garden(rng: random.Random) -> list[Slot]:
    page = [Slot("features", "high") for _ in range(PER_PAGE)]
    page[0 if rng.random() < 0.1 else rng.randrange(1, PER_PAGE)] = Slot("features", "goal", True)
    return [*page, Slot("features", "high"), BAIT, LACKING, LACKING]


def bath(rng: random.Random) -> list[Slot]:
    slots = [LACKING] * FAMILY_SIZE
    slots[0 if rng.random() < 0.15 else 1] = Slot("features", "goal", True)
    slots[6] = BAIT
    return slots


def pets(rng: random.Random) -> list[Slot]:
    return [*[LACKING] * PER_PAGE, Slot("features", "goal", True), LACKING, BAIT, LACKING]


def office(rng: random.Random) -> list[Slot]:
    slots = [LACKING] * FAMILY_SIZE
    slots[rng.randrange(5, FAMILY_SIZE)] = Slot("title", "goal", True)
    return slots


LAYOUTS = {f.__name__: f for f in (closet, kitchen, garden, bath, pets, office)}
"""Department -> layout(rng) -> eight slots."""

NEAR_DUPLICATE = {"pets": (0, PER_PAGE)}
"""Department -> (slot, slot) with the same title."""

OPTIONS_COUNT = frozenset({"closet"})
"""Departments where the options an instruction names are part of the goal. Elsewhere people name them in passing, as in
real instructions, where the goal's options are what annotators marked and not all that the text mentions."""
