# SPDX-License-Identifier: Apache-2.0
"""A walk along a corridor: seven places in a row, the door at the right end."""

from __future__ import annotations

PLACES = 7
DOOR = PLACES - 1
REPLIES = ("left", "right")


def prompt(place: int) -> list[dict[str, str]]:
    """What the model sees."""
    return [{"role": "user", "content": f"You are at place {place}. left or right?"}]


def move(place: int, reply: str) -> tuple[int, bool]:
    """The next place, and whether the reply was one of `REPLIES`."""
    word = reply.strip()
    if word not in REPLIES:
        return place, False
    return max(0, place + (1 if word == "right" else -1)), True
