# SPDX-License-Identifier: Apache-2.0
"""The content of a compact page, parsed from its text: scripted procedures get the same input as the model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from siri_verl.demos.webshop import words

_RESULTS = re.compile(r"results (\d+) of (\d+)")
_HIT = re.compile(r"\$([\d.]+) (\S+) (.+)")
_ITEM = re.compile(r"item \$([\d.]+) (.+)")
_VOCABULARY = {
    "attribute": frozenset(words.ATTRIBUTES),
    "modifier": frozenset(words.MODIFIERS),
    "noun": frozenset(noun for nouns in words.NOUNS.values() for noun in nouns),
}


@dataclass(frozen=True)
class PageView:
    """One compact page.

    Attributes:
        kind: "search", "results", "item", "features", "description", "reviews" or "done".
        number, pages: of results.
        hits: (dollars, asin, title) in display order.
        options: values on offer, in display order.
        chosen: chosen values.
        body: text of a sub page.
    """

    kind: str
    number: int = 1
    pages: int = 1
    hits: tuple[tuple[float, str, str], ...] = ()
    options: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    body: tuple[str, ...] = ()


def read_page(observation: str) -> PageView:
    """Parse a compact observation.

    Raises:
        ValueError: the text is no compact page.
    """
    lines = observation.split("\n")
    first = lines[0]
    if first == "search page":
        return PageView("search")
    if first.startswith("bought score"):
        return PageView("done")
    if found := _RESULTS.fullmatch(first):
        hits = [m for m in map(_HIT.fullmatch, lines[1:]) if m]
        rows = tuple((float(m[1]), m[2], m[3]) for m in hits)
        return PageView("results", int(found[1]), int(found[2]), rows)
    if _ITEM.fullmatch(first):
        options: list[str] = []
        chosen: tuple[str, ...] = ()
        for line in lines[1:-1]:
            name, _, values = line.partition(" : ")
            listed = values.split(" | ")
            if name == "chosen":
                chosen = () if listed == ["none"] else tuple(listed)
            else:
                options += listed
        return PageView("item", options=tuple(options), chosen=chosen)
    kind, _, body = first.partition(" : ")
    if kind in ("features", "description", "reviews"):
        return PageView(kind, body=tuple(body.split(" | ")))
    raise ValueError(f"observation: {first!r} starts no compact WebShop page")


@dataclass(frozen=True)
class TaskView:
    """What a demo task text names."""

    family: str
    attribute: str
    words: frozenset[str]


def read_task(task: str) -> TaskView:
    """Find the family's name, the attribute and every other word of a demo instruction.

    Raises:
        ValueError: the text names no family or no attribute of the demo shop.
    """
    tokens = re.findall(r"[a-z]+", task.lower())
    found = {kind: next((t for t in tokens if t in known), None) for kind, known in _VOCABULARY.items()}
    missing = [kind for kind, word in found.items() if word is None]
    if missing:
        raise ValueError(f"task {task!r}: names no {' and no '.join(missing)} of the demo shop")
    return TaskView(f"{found['modifier']} {found['noun']}", str(found["attribute"]), frozenset(tokens))
