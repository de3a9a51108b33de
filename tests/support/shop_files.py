# SPDX-License-Identifier: Apache-2.0
"""Official files of a shop of any size."""

import json

from support.tiny_catalog import record


def write_shop(folder, products):
    """Write the files of a number of products, each with one instruction; paths by role."""
    entry = {
        "attributes": ["machine wash"],
        "instruction": "Find me a shirt",
        "instruction_attributes": ["machine wash"],
    }
    records = [record(f"B{number:09d}", f"Shirt {number}") for number in range(products)]
    content = {"products": records, "attributes": {product["asin"]: entry for product in records}}
    paths = {role: folder / f"{role}.json" for role in content}
    for role, path in paths.items():
        path.write_text(json.dumps(content[role]))
    return paths
