# SPDX-License-Identifier: Apache-2.0
"""A small hand-made shop in the official file format."""

import json

import pytest

from siri_verl.envs.webshop.prepare import prepare

CATEGORY = "Clothing, Shoes & Jewelry › Men › Shirts"


def product(asin, name, **fields):
    record = {
        "asin": asin,
        "name": name,
        "full_description": "",
        "small_description": [],
        "pricing": "$20.0",
        "images": [],
        "category": "fashion",
        "query": "men's shirts",
        "product_category": CATEGORY,
        "customization_options": "",
    }
    return {**record, **fields}


def options(**values):
    return {name.replace("_", " "): [{"value": value} for value in listed] for name, listed in values.items()}


def shop_records():
    records = [
        product(
            "B000000001",
            "Blue Oxford Shirt",
            full_description="A shirt of cotton.",
            small_description=["Machine wash", " Long sleeve "],
            pricing="$19.99$27.99",
            customization_options=options(Size=["Small", "X-Large"], Color=["Navy/Blue", "White"]),
        ),
        product("B000000002", "Green Wool Sock", query="socks", product_category="Clothing › Men › Socks", pricing=""),
        product(
            "B000000003",
            "Odd Hat [limited] with | bar",
            query="hats",
            product_category="Clothing › Hats",
            customization_options=options(
                Kind=["Features", "tall  hat", "a[b]c"], Top_size=["one", "two"], Brim_size=["two", "three"]
            ),
        ),
    ]
    return records + [product(f"B0000001{k:02d}", f"Plain shirt number {k}", pricing=f"${10 + k}.0") for k in range(23)]


ATTRIBUTES = {
    "B000000001": {"attributes": ["machine wash", "long sleeve", "cotton"]},
    "B000000002": {"attributes": ["wool"]},
}
HUMAN = {
    "B000000001": [
        {
            "instruction": "i want a navy shirt that is machine washable in size small.",
            "instruction_attributes": ["machine wash"],
            "instruction_options": ["small", "navy | blue"],
        },
        {
            "instruction": "find me a long sleeve cotton shirt.",
            "instruction_attributes": ["long sleeve", "cotton"],
            "instruction_options": [],
        },
    ],
    "B000000002": [
        {"instruction": "i need warm socks.", "instruction_attributes": ["wool"], "instruction_options": []}
    ],
    "B000000003": [
        {"instruction": "i want a tall hat.", "instruction_attributes": ["odd"], "instruction_options": ["tall hat"]}
    ],
}


@pytest.fixture(scope="session")
def shop_store(tmp_path_factory):
    """Directory of the prepared store."""
    folder = tmp_path_factory.mktemp("shop")
    files = {"products": shop_records(), "attributes": ATTRIBUTES, "human": HUMAN}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    out = folder / "store"
    prepare(
        folder / "products.json",
        folder / "attributes.json",
        out,
        folder / "human.json",
        type_backend="rules",
        show_progress=False,
    )
    return out


@pytest.fixture(scope="session")
def shop(shop_store):
    """The opened catalogue."""
    from siri_verl.envs.webshop import Catalog

    return Catalog.open(shop_store)
