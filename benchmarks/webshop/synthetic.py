# SPDX-License-Identifier: Apache-2.0
"""A synthetic catalogue in the official file format, of any size, for measuring."""

import json
import random
import string
from itertools import accumulate
from pathlib import Path


def write_files(folder: Path, n_products: int, seed: int = 0, words_per_product: int = 110) -> tuple[Path, Path]:
    """Write products and attributes; lengths and option counts are about those of the real catalogue.

    Words follow Zipf's law over 50,000 made-up words, as in real text: a few posting lists are long, most are short.
    """
    rng = random.Random(seed)
    letters = string.ascii_lowercase
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(2, 11))) for _ in range(50_000)]
    cumulative = list(accumulate(1 / rank for rank in range(1, len(vocabulary) + 1)))

    def text(n: int) -> str:
        return " ".join(rng.choices(vocabulary, cum_weights=cumulative, k=n))

    products_path, attributes_path = folder / "items_shuffle.json", folder / "items_ins_v2.json"
    attributes = {}
    with products_path.open("w") as file:
        for number in range(n_products):
            asin = f"B{number:09d}"
            options = {"Color": [{"value": text(2)} for _ in range(3)], "Size": [{"value": text(1)} for _ in range(2)]}
            record = {
                "asin": asin,
                "name": text(14).title(),
                "full_description": text(rng.randint(0, 2 * (words_per_product - 30))),
                "small_description": [text(20) for _ in range(4)],
                "pricing": f"${rng.uniform(5, 400):.2f}",
                "category": rng.choice(["fashion", "garden", "beauty"]),
                "query": text(2),
                "product_category": f"{text(1)} › {text(1)} › {text(1)}",
                "customization_options": options if number % 2 else "",
            }
            file.write(("[" if number == 0 else ",\n") + json.dumps(record))
            wanted = [text(2), text(2)]
            attributes[asin] = {"attributes": wanted}
            if number % 10 == 0:
                attributes[asin] |= {"instruction": f"Find me {text(3)}", "instruction_attributes": wanted}
        file.write("]")
    attributes_path.write_text(json.dumps(attributes))
    return products_path, attributes_path
