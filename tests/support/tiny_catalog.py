# SPDX-License-Identifier: Apache-2.0
"""A tiny catalogue in the official format."""


def record(asin, name, **fields):
    """One product as in items_shuffle.json."""
    return {
        "asin": asin,
        "name": name,
        "full_description": "",
        "small_description": [],
        "pricing": "$20.0",
        "category": "fashion",
        "query": "shirts",
        "product_category": "Clothing › Men › Shirts",
        "customization_options": "",
    } | fields


PRODUCTS = [
    record(
        "B01",
        "Acme Cotton Shirt",
        full_description="Soft shirt for summer.",
        small_description=["Machine wash", "Slim fit"],
        pricing="$19.99$27.99",
        customization_options={
            "Color": [{"value": "Navy Blue"}, {"value": " Red/White "}],
            "Size": [{"value": "Small"}, {"value": "X-Large"}],
            "Style": None,
        },
    ),
    record("B02", "Linen Shirt", small_description="One bullet only", pricing=""),
    record("B03", "Oak Console Table", query=" Console TABLES ", category="garden", product_category="Home › Tables"),
    record("B04", "Wool Hat", pricing="$985.5", query="hats", product_category="Clothing › Men › Hats"),
    record("nan", "Skipped"),
    record("B0123456789", "Skipped, too long an asin"),
    record("B02", "Skipped, repeated"),
]
ATTRIBUTES = {
    "B01": {
        "attributes": ["machine wash", "slim fit"],
        "instruction": "Find me machine wash shirts",
        "instruction_attributes": ["machine wash"],
    },
    "B02": {"attributes": ["long lasting"]},
    "B03": {
        "attributes": ["solid wood"],
        "instruction": "Find me solid wood tables",
        "instruction_attributes": ["solid wood"],
    },
}
HUMAN = {
    "B01": [
        {
            "instruction": "i want a slim shirt in red.",
            "instruction_attributes": ["slim fit"],
            "instruction_options": ["red | white"],
        },
        {"instruction": "no attributes here", "instruction_attributes": [], "instruction_options": []},
    ],
    "B04": [{"instruction": "i need a wool hat", "instruction_attributes": ["wool"], "instruction_options": []}],
    "B99": [{"instruction": "not in stock", "instruction_attributes": ["x"], "instruction_options": []}],
}
