# SPDX-License-Identifier: Apache-2.0
"""The demo shop's words: few enough for a word-level vocabulary of some 400 tokens.

A family of products is "<modifier> <noun>" ("harbor mug"); the noun decides the department. Every noun occurs in every
panel, but a family belongs to one panel alone.
"""

from __future__ import annotations

NOUNS: dict[str, tuple[str, ...]] = {
    "closet": ("jacket", "shirt", "scarf", "coat"),
    "kitchen": ("mug", "pan", "bowl", "kettle"),
    "garden": ("hose", "rake", "planter", "shovel"),
    "bath": ("towel", "mat", "robe", "mirror"),
    "pets": ("leash", "crate", "collar", "feeder"),
    "office": ("desk", "lamp", "chair", "shelf"),
}
"""Department -> nouns."""

DEPARTMENTS: tuple[str, ...] = tuple(NOUNS)

MODIFIERS: tuple[str, ...] = (
    *("travel", "camp", "family", "junior", "studio", "cabin", "guest", "winter", "summer", "spring"),
    *("city", "alpine", "coastal", "prairie", "harbor", "village", "forest", "desert", "island", "river"),
    *("sunset", "morning", "holiday", "weekend", "festival", "market", "station", "tower", "bridge", "meadow"),
)

BRANDS: tuple[str, ...] = (
    *("acme", "zenith", "orbit", "lumen", "nordic", "vertex", "pico", "tango"),
    *("delta", "sigma", "kappa", "mira", "nova", "quill", "ember", "fable"),
)

STYLES: tuple[str, ...] = ("classic", "basic", "plain", "standard", "regular", "simple", "modest", "neutral")
"""Say nothing that a goal asks for; they stand where a title or a description names no goal attribute."""

ATTRIBUTES: tuple[str, ...] = (
    *("waterproof", "handmade", "organic", "foldable", "washable", "recycled"),
    *("durable", "padded", "vintage", "quiet", "sturdy", "scented"),
)

COLORS: tuple[str, ...] = ("red", "blue", "green", "black", "white", "purple")
SIZES: tuple[str, ...] = ("small", "medium", "large")

LOW_PRICES: tuple[int, ...] = tuple(range(9, 58, 3))
"""Dollars. A goal's price is at most 27, so its cap (one of the first four tens above it) is at most 60."""
GOAL_PRICES: tuple[int, ...] = tuple(range(15, 28, 3))
HIGH_PRICES: tuple[int, ...] = tuple(range(63, 97, 3))
"""Above every cap."""

ASIN_ITEMS: tuple[str, ...] = tuple(f"B0{a}" for a in "ABCDEFGHJKLMNPQRSTVWXYZ")
ASIN_FAMILIES: tuple[str, ...] = tuple(
    f"-{a}{b}-{c}{d}" for a in "CDFGHJKLM" for b in "248" for c in "NPQRTVWXZ" for d in "357"
)
"""An asin ("B0F-K4-N7") is three tokens: the first distinguishes the items of a family, the others are the family's."""

INSTRUCTIONS: tuple[str, ...] = (
    "i need a {attribute} {family} for my {department}{options}",
    "for the {department} , i want a {family} that is {attribute}{options}",
    "looking for a {family} in the {department} section , {attribute}{options}",
    "can you find a {attribute} {family} ? it is for our {department}{options}",
)
OPTION_PHRASES: tuple[str, ...] = (
    " , in {color} and {size}",
    " , color {color} , size {size}",
    " , {size} and {color}",
)


def department_of(task: str) -> str | None:
    """The department a task text names, read from the text alone; None if it names none or several."""
    words = set(task.lower().replace(",", " ").split())
    named = [name for name in DEPARTMENTS if name in words]
    return named[0] if len(named) == 1 else None
