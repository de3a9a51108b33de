# SPDX-License-Identifier: Apache-2.0
"""What a purchase is worth (Yao et al. 2022, arXiv 2207.01206, section 3.3 and its released scorer).

    total = type_score * (attribute matches + option matches + [price <= limit]) / (attributes + options + 1)

Published numbers were made with the released scorer, so its odd sides are kept:

* Chosen values are reduced to a colour word that they contain: "old fashioned" becomes "ash". A synthetic goal's
  options are (name, value) pairs, which are reduced only if name or value is a colour word; else they reach the fuzzy
  match as Python writes the pair, "('color', 'navy blue')". So a purchase of "light blue" satisfies that pair, since
  "blue" is among its words, and one of "old fashioned" does not satisfy ('flavor', 'old fashioned').
* The fuzzy match drops the characters U+0080 to U+00FF ("cafe" for "caf" with an accented e) and no others beyond
  ASCII. In a pair, characters that cannot be printed are escapes: a no-break space reads "xa0".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

from rapidfuzz import fuzz, utils

from siri_verl.envs.webshop.nouns import available_backend, nouns_of

MATCH_ABOVE = 85
"""`similarity` that counts as a match."""

_LATIN_1 = dict.fromkeys(range(0x80, 0x100))

# the first of these that a text contains stands for its colour; alphabetical, so "blue" wins over "navy" in "navy blue"
COLORS = tuple(
    """alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo
    ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white wine yellow""".split()
)


@dataclass(frozen=True)
class PurchaseScore:
    """A purchase's score and what it is made of. Shares are 1.0 where the goal asks for nothing of the kind."""

    total: float
    """In [0, 1]; a success is exactly 1."""
    attribute_share: float
    option_share: float
    price_ok: bool
    query_match: bool
    category_match: bool
    title_score: float
    """Share of the goal title's nouns that occur in the bought title."""
    type_score: float
    """1, 0.5, 0.1 or 0."""
    type_backend: str
    """What tagged the nouns: "spacy", "rules", or "given"."""

    @property
    def success(self) -> bool:
        """Whether the purchase is all that was asked for."""
        return self.total == 1.0


def normalize_color(text: str | tuple[str, str]) -> str:
    """The first colour word of `COLORS` contained in a text, else the text. Of a pair: that is one of its two texts,
    else the pair as Python writes it."""
    return next((color for color in COLORS if color in text), str(text))


@lru_cache(maxsize=1 << 16)
def similarity(a: str, b: str) -> int:
    """`thefuzz.fuzz.token_set_ratio(a, b)` with its defaults, in percent: without the characters U+0080 to U+00FF, in
    lower case, with blanks for all but letters and digits, rounded to an integer (thefuzz 0.19 and 0.22)."""
    a, b = a.translate(_LATIN_1), b.translate(_LATIN_1)
    return round(fuzz.token_set_ratio(a, b, processor=utils.default_process))


def _matches(a: str, b: str) -> bool:
    return similarity(a, b) > MATCH_ABOVE


def count_attributes(wanted: Iterable[str], product: Any) -> int:
    """How many goal attributes the product has: fuzzily among its attributes, else literally in its text."""
    title, description = _get(product, "title").lower(), _get(product, "description").lower()
    bullets = " ".join(_get(product, "bullet_points")).lower()
    has = _get(product, "attributes")
    return sum(
        any(_matches(own, attribute) for own in has) or any(attribute in text for text in (title, bullets, description))
        for attribute in wanted
    )


def count_options(wanted: Mapping[str, str] | Iterable[Any], chosen: Iterable[str]) -> int:
    """How many goal options the chosen values satisfy.

    Args:
        wanted: {name: value} or (name, value) pairs of a synthetic goal, or the values of a human one.
        chosen: option values that were chosen.
    """
    texts = _option_texts(wanted)
    values = [normalize_color(value) for value in chosen]
    return sum(any(_matches(value, text) for value in values) for text in texts)


def _option_texts(wanted: Mapping[str, str] | Iterable[Any]) -> list[str]:
    options = wanted.items() if isinstance(wanted, Mapping) else wanted
    return [normalize_color(option if isinstance(option, str) else tuple(option)) for option in options]


def type_parts(goal: Any, product: Any) -> tuple[bool, bool, float, float, str]:
    """(query_match, category_match, title_score, type_score, type_backend) of a purchase."""
    query_match = _get(product, "query") == _get(goal, "query")
    shared = _levels(_get(product, "product_category")) & _levels(_get(goal, "product_category"))
    category_match = len(shared) >= 2
    bought, wanted = _optional(product, "nouns"), _optional(goal, "nouns")
    backend = "given"
    if bought is None or wanted is None:  # one tagger for both sides
        backend = available_backend()
        bought, wanted = nouns_of(_get(product, "title")), nouns_of(_get(goal, "name"))
    title_score = len(set(bought) & set(wanted)) / len(wanted) if wanted else 0.2
    type_score = 1.0 if query_match or category_match or title_score > 0.2 else 0.5
    if title_score < 0.1:
        type_score = 0.1
    if title_score == 0.0:
        type_score = 0.0
    return query_match, category_match, title_score, type_score, backend


def score_purchase(
    goal: Any, product: Any, options: Mapping[str, str], price: float, *, type_backend: str | None = None
) -> PurchaseScore:
    """Score a purchase.

    Args:
        goal: a `Goal`, or any mapping or object with asin, category, query, name, product_category, attributes,
            price_upper and goal_options ({name: value} for a synthetic goal, a list of values for a human one).
            Optional: nouns, the tagged title.
        product: the bought `Product`, or a mapping or object with its fields.
        options: chosen option name to value.
        price: dollars paid.
        type_backend: what tagged the stored nouns, to be named in the result.

    Raises:
        KeyError: goal or product lacks a field; the message names it.
        ValueError: the price is not a finite number.
    """
    if isinstance(price, bool) or not isinstance(price, Real) or not math.isfinite(price):
        raise ValueError(f"price={price!r}: expected a finite number of dollars.")
    attributes, wanted = list(_get(goal, "attributes")), _get(goal, "goal_options") or []
    if isinstance(wanted, str):
        raise ValueError(f"goal_options={wanted!r}: expected a mapping of names to values or a list of values.")
    wanted = dict(wanted) if isinstance(wanted, Mapping) else list(wanted)
    query_match, category_match, title_score, type_score, backend = type_parts(goal, product)
    n_attributes = count_attributes(attributes, product)
    n_options = count_options(wanted, options.values())
    price_ok = price <= _get(goal, "price_upper")
    total = type_score * (n_attributes + n_options + price_ok) / (len(attributes) + len(wanted) + 1)
    return PurchaseScore(
        total=total,
        attribute_share=n_attributes / len(attributes) if attributes else 1.0,
        option_share=n_options / len(wanted) if wanted else 1.0,
        price_ok=price_ok,
        query_match=query_match,
        category_match=category_match,
        title_score=title_score,
        type_score=type_score,
        type_backend=type_backend if backend == "given" and type_backend else backend,
    )


def solved_by_own_product(goal: Any, product: Any) -> bool:
    """Whether a synthetic goal scores 1 for its own product with its own options. It may not: chosen values are reduced
    to a colour word that they contain and the goal's are not (see the top of this module)."""
    options = _get(goal, "goal_options")
    attributes = list(_get(goal, "attributes"))
    wanted = count_options(options, options.values()) == len(options)
    return wanted and count_attributes(attributes, product) == len(attributes)


def _levels(product_category: str) -> set[str]:
    return {level.strip() for level in product_category.split("›")}


_MISSING = object()


def _optional(thing: Any, field: str) -> Any:
    return thing.get(field) if isinstance(thing, Mapping) else getattr(thing, field, None)


def _get(thing: Any, field: str) -> Any:
    value = thing.get(field, _MISSING) if isinstance(thing, Mapping) else getattr(thing, field, _MISSING)
    if value is _MISSING:
        raise KeyError(f"{type(thing).__name__} has no {field!r}, which scoring a purchase needs.")
    return value
