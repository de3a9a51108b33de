# SPDX-License-Identifier: Apache-2.0
"""A purchase's score in words: which attributes, options and price limit of the goal the purchase misses."""

from __future__ import annotations

from collections.abc import Mapping

from siri_verl.envs.webshop.goals import NO_LIMIT, Goal
from siri_verl.envs.webshop.pages import ProductLike
from siri_verl.envs.webshop.reward import PurchaseScore, count_attributes, count_options

NOTHING_BOUGHT = "nothing was bought"


def explain_purchase(goal: Goal, product: ProductLike, options: Mapping[str, str], score: PurchaseScore) -> str:
    """One line about a purchase, by the rules of `score_purchase`.

    Args:
        goal: of the episode.
        product: that was bought.
        options: chosen option name to value.
        score: of the purchase.
    """
    attributes = [a for a in goal.attributes if not count_attributes([a], product)]
    wanted = goal.goal_options
    pairs = list(wanted.items()) if isinstance(wanted, dict) else [("", value) for value in wanted]
    values = list(options.values())
    missed = [
        f"{name} {value}".strip()
        for name, value in pairs
        if not count_options([(name, value)] if isinstance(wanted, dict) else [value], values)
    ]
    parts = [
        _part("attribute", len(goal.attributes), attributes),
        _part("option", len(pairs), missed),
        _price(goal.price_upper, product.price, score.price_ok),
    ]
    if score.type_score < 1:
        parts.append(f"another kind of product (factor {score.type_score:g})")
    own = "the goal's own product" if product.asin == goal.asin else "another product"
    return f"bought {product.asin} ({own}): " + "; ".join(part for part in parts if part)


def _part(name: str, asked: int, missed: list[str]) -> str:
    if not asked:
        return ""
    text = f"{asked - len(missed)} of {asked} {name}{'s' if asked > 1 else ''}"
    return f"{text}, missing {', '.join(missed)}" if missed else text


def _price(limit: float, price: float, fits: bool) -> str:
    if limit >= NO_LIMIT:
        return ""
    return f"price {price:.2f} {'within' if fits else 'above'} the limit {limit:.2f}"
