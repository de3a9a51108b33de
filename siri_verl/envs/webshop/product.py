# SPDX-License-Identifier: Apache-2.0
"""One product of the catalogue, and how a record of the official files becomes one."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NO_PRICE = 100.0  # what the original shop charges when a record names no price
NO_ATTRIBUTES = ("DUMMY_ATTR",)  # what it gives a product the attribute file does not know


class DataError(ValueError):
    """A data file is missing or malformed; the message names the file, the record and what was expected."""


@dataclass(frozen=True)
class Product:
    """A product as the shop shows and scores it."""

    asin: str
    title: str
    description: str
    bullet_points: tuple[str, ...]
    price_tag: str
    """As displayed: "$19.99" or "$19.99 to $27.99"."""
    price: float
    """Dollars paid; for a price range one draw that depends on the catalogue's seed and the asin alone."""
    options: dict[str, list[str]]
    """Option name to its values, all lower case."""
    attributes: list[str]
    category: str
    query: str
    """The search phrase the product was found with: the original's name for the kind of product."""
    product_category: str
    """"A › B › C"."""
    rating: str = "N.A."
    nouns: tuple[str, ...] | None = None
    """Nouns of the title by the store's `type_backend`; None outside a prepared store."""

    @property
    def indexed_text(self) -> str:
        """The string search ranks by: title, description, first bullet point and options."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        first = self.bullet_points[0] if self.bullet_points else ""
        return f"{self.title} {self.description} {first} {options}".lower()


def parse_product(
    record: Any, attributes: Mapping[str, Any], *, seed: int, where: str, attributes_file: str
) -> Product | None:
    """Turn one record of `items_shuffle*.json` into a product.

    Args:
        record: the JSON object.
        attributes: the parsed `items_ins_v2*.json`: asin to {attributes, ...}.
        seed: seeds the draw within a price range.
        where: file and record number, for messages.
        attributes_file: where `attributes` were read from, for messages.

    Returns:
        The product, or None for a record the original skips: asin 'nan' or longer than 10 characters.

    Raises:
        DataError: a field is missing or has another type than the official format.
    """
    if not isinstance(record, Mapping):
        raise DataError(f"{where}: expected an object with the fields of a product, found {_short(record)}.")
    asin = _text(record, "asin", where).strip()
    where = f"{where} (asin {asin!r})"
    if asin == "nan" or len(asin) > 10:
        return None
    if not asin:
        raise DataError(f"{where}: field 'asin' is empty; expected 1 to 10 characters.")
    if not (asin.isascii() and asin.isprintable()):
        raise DataError(f"{where}: field 'asin' has characters other than ASCII letters and digits.")
    prices = _prices(record.get("pricing"), where)
    if not prices:
        price_tag, price = f"${NO_PRICE}", NO_PRICE
    elif len(prices) == 1:
        price_tag, price = f"${prices[0]}", prices[0]
    else:
        low, high = prices[:2]
        price_tag = f"${low} to ${high}"
        price = random.Random(f"price:{seed}:{asin}").uniform(low, high)
    entry = attributes.get(asin, {})
    if not isinstance(entry, Mapping):
        raise DataError(f"{attributes_file}: entry {asin!r} is {_short(entry)}; expected {{'attributes': [...]}}.")
    known = entry.get("attributes")
    if known is not None:
        known = string_list(known, f"{attributes_file}: entry {asin!r}: field 'attributes'")
    return Product(
        asin=asin,
        title=_text(record, "name", where),
        description=_text(record, "full_description", where),
        bullet_points=_bullets(record.get("small_description"), where),
        price_tag=price_tag,
        price=price,
        options=_options(record.get("customization_options"), where),
        attributes=list(NO_ATTRIBUTES if known is None else known),
        category=_text(record, "category", where),
        query=_text(record, "query", where).lower().strip(),
        product_category=_text(record, "product_category", where),
    )


def string_list(value: Any, what: str) -> list[str]:
    """`value` if it is a list of strings, [] for None; else DataError."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{what} is {value!r}; expected a list of strings.")
    return list(value)


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _text(record: Mapping[str, Any], field: str, where: str) -> str:
    if field not in record:
        raise DataError(f"{where}: field '{field}' is missing; expected a string.")
    value = record[field]
    if not isinstance(value, str):
        raise DataError(f"{where}: field '{field}' is {_short(value)}; expected a string.")
    return value


def _prices(value: Any, where: str) -> list[float]:
    if value is None or value == "":
        return []
    if not isinstance(value, str):
        raise DataError(f"{where}: field 'pricing' is {_short(value)}; expected a string like '$19.99$27.99'.")
    try:
        prices = [float(re.sub(r"[^\d.]", "", part)) for part in value.split("$")[1:]]
    except ValueError:
        prices = [math.inf]
    if not all(map(math.isfinite, prices)):
        raise DataError(f"{where}: field 'pricing' is {value!r}; expected amounts like '$19.99$27.99'.")
    return prices


def _bullets(value: Any, where: str) -> tuple[str, ...]:
    bullets = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(bullet, str) for bullet in bullets):
        raise DataError(
            f"{where}: field 'small_description' is {_short(value)}; expected a string or a list of strings."
        )
    return tuple(bullets)


def _options(value: Any, where: str) -> dict[str, list[str]]:
    if not value:  # also the empty list, as in the original
        return {}
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: field 'customization_options' is {_short(value)}; expected '' or an object.")
    options: dict[str, list[str]] = {}
    for name, choices in value.items():
        if choices is None:
            continue
        if not isinstance(choices, list) or not all(
            isinstance(c, Mapping) and isinstance(c.get("value"), str) for c in choices
        ):
            raise DataError(
                f"{where}: field 'customization_options', option {name!r} is {_short(choices)}; "
                "expected a list of objects with a string 'value'."
            )
        options[name.lower()] = [choice["value"].strip().replace("/", " | ").lower() for choice in choices]
    return options
