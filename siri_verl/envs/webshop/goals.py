# SPDX-License-Identifier: Apache-2.0
"""Goals: what a shopper is asked to buy. One goal is one task with a stable id.

Two kinds, as in the original: `human` (one per written instruction) and `synthetic` (a template instruction times
every combination of the product's options). The original draws price limits unseeded; here each draw depends on the
catalogue's seed and the goal's content alone, so adding or removing products changes no other goal.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from siri_verl.envs.webshop.product import DataError, Product, string_list

KINDS = ("human", "synthetic")
NO_LIMIT = 1_000_000.0
MAX_GOALS = 100_000
"""Synthetic goals of one product; the official catalogues have far fewer."""
_LIMITS = tuple(range(10, 1000, 10))


@dataclass(frozen=True)
class Goal:
    """One task of the shop."""

    id: str
    """"<asin>-<h|s><10 hexadecimal digits>", derived from the kind, instruction, attributes, options and price
    limit."""
    kind: str
    """"human" or "synthetic"."""
    asin: str
    category: str
    query: str
    name: str
    """Title of the product the goal was made from."""
    product_category: str
    instruction: str
    """The task text, price limit included."""
    attributes: list[str]
    price_upper: float
    """Dollars; `NO_LIMIT` where the instruction names none."""
    goal_options: dict[str, str] | list[str]
    """Synthetic: option name to value. Human: values."""
    nouns: tuple[str, ...] | None = None
    """Nouns of `name` by the store's `type_backend`; None outside a prepared store."""


def draw_limit(price: float, rng: random.Random) -> float:
    """A price limit in dollars above `price`, or `NO_LIMIT`.

    Of 10, 20, ..., 990 the first four above the price are candidates; with at least two, two are drawn and the larger
    counts.
    """
    above = [limit for limit in _LIMITS if limit > price][:4]
    return float(max(rng.sample(above, 2))) if len(above) >= 2 else NO_LIMIT


def price_suffix(price_upper: float) -> str:
    """The instruction's words about the limit, empty where there is none."""
    return "" if price_upper >= NO_LIMIT else f", and price lower than {price_upper:.2f} dollars"


def human_goals(product: Product, instructions: Any, *, seed: int, where: str) -> Iterator[Goal]:
    """The goals written by people for one product; instructions without attributes are skipped, as in the original.

    Args:
        instructions: the product's entry in `items_human_ins.json`: [{instruction, instruction_attributes,
            instruction_options}, ...].
        where: file and record, for messages.

    Raises:
        DataError: another shape.
    """
    if not isinstance(instructions, list):
        raise DataError(f"{where}: is a {type(instructions).__name__}; expected a list of instructions.")
    seen: dict[str, int] = {}
    for number, entry in enumerate(instructions):
        here = f"{where}, instruction {number}"
        if not isinstance(entry, Mapping):
            raise DataError(f"{here}: is a {type(entry).__name__}; expected an object with 'instruction'.")
        attributes = string_list(entry.get("instruction_attributes"), f"{here}: field 'instruction_attributes'")
        if not attributes:
            continue
        text = entry.get("instruction")
        if not isinstance(text, str) or not text:
            raise DataError(f"{here}: field 'instruction' is {text!r}; expected a text.")
        options = string_list(entry.get("instruction_options"), f"{here}: field 'instruction_options'")
        yield _goal("human", product, text.strip("."), attributes, options, seed, seen)


def synthetic_goals(product: Product, entry: Mapping[str, Any], *, seed: int, where: str) -> Iterator[Goal]:
    """One goal per combination of the product's options, if its entry in `items_ins_v2.json` has an instruction.

    Raises:
        DataError: the entry has another shape, or an instruction without attributes.
    """
    text = entry.get("instruction")
    if text is None or text == "":
        return
    if not isinstance(text, str):
        raise DataError(f"{where}: field 'instruction' is {text!r}; expected a text.")
    attributes = string_list(entry.get("instruction_attributes"), f"{where}: field 'instruction_attributes'")
    if not attributes:
        raise DataError(f"{where}: has an instruction but no 'instruction_attributes'; expected at least one.")
    names = sorted(product.options)
    combinations = math.prod(len(product.options[name]) for name in names)
    if combinations > MAX_GOALS:
        raise DataError(
            f"{where}: the product's options have {combinations:,} combinations; at most {MAX_GOALS:,} goals."
        )
    seen: dict[str, int] = {}
    for values in itertools.product(*(product.options[name] for name in names)):
        options = dict(zip(names, values, strict=True))
        suffix = ", and ".join(f"{name}: {value}" for name, value in options.items())
        yield _goal("synthetic", product, f"{text} with {suffix}" if suffix else text, attributes, options, seed, seen)


def _goal(
    kind: str,
    product: Product,
    text: str,
    attributes: list[str],
    options: dict[str, str] | list[str],
    seed: int,
    seen: dict[str, int],
) -> Goal:
    content = json.dumps([kind, product.asin, text, attributes, options], sort_keys=True)
    # the official files repeat a few tasks word for word; they stay distinct goals
    repeat = seen[content] = seen.get(content, -1) + 1
    content += f"#{repeat}" if repeat else ""
    price_upper = draw_limit(product.price, random.Random(f"limit:{seed}:{content}"))
    digest = hashlib.sha256(f"{content}|{price_upper:.2f}".encode()).hexdigest()
    return Goal(
        id=f"{product.asin}-{kind[0]}{digest[:10]}",
        kind=kind,
        asin=product.asin,
        category=product.category,
        query=product.query,
        name=product.title,
        product_category=product.product_category,
        instruction=text + price_suffix(price_upper),
        attributes=attributes,
        price_upper=price_upper,
        goal_options=options,
        nouns=product.nouns,
    )
