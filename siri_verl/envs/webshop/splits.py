# SPDX-License-Identifier: Apache-2.0
"""Which goals train and which measure.

    official    the original's cut of one seeded shuffle: test 500, validation 1,000, train the rest
    verl_agent  validation 500, train the rest, as verl-agent cuts, but in one global shuffle (its workers each
                shuffle by their own seed, so that validation overlaps training there)
    by_product  no product on two sides; 10 % of the products validate, 10 % test

A split is a JSON file of goal ids, so that it can be read, diffed and reused.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from siri_verl.envs.webshop.product import DataError
from siri_verl.files import parse_json, write_text_atomically

SPLIT_NAMES = ("official", "verl_agent", "by_product")
PARTS = ("train", "validation", "test")


class SplitError(ValueError):
    """A split that is unknown, impossible for this catalogue, or not disjoint."""


@dataclass(frozen=True)
class Split:
    """Lists of goal ids. Their order is the shuffled one and part of the split."""

    name: str
    train: list[str]
    validation: list[str]
    test: list[str]

    def part(self, name: str) -> list[str]:
        """The ids of "train", "validation" or "test".

        Raises:
            SplitError: unknown, or this split has no such part.
        """
        if name not in PARTS:
            raise SplitError(f"part {name!r} of split {self.name!r}: known parts are {', '.join(PARTS)}.")
        ids: list[str] = getattr(self, name)
        if not ids:
            filled = ", ".join(part for part in PARTS if getattr(self, part))
            raise SplitError(f"part {name!r} of split {self.name!r} is empty; it has {filled}.")
        return ids

    def check(self) -> None:
        """Raise SplitError if an id occurs twice."""
        seen: dict[str, str] = {}
        for part in PARTS:
            for goal_id in getattr(self, part):
                if goal_id in seen:
                    raise SplitError(f"split {self.name!r}: goal {goal_id} is in {seen[goal_id]} and in {part}.")
                seen[goal_id] = part

    def write(self, folder: Path) -> None:
        """Write `<folder>/<name>.json`."""
        self.check()
        write_text_atomically(folder / f"{self.name}.json", json.dumps(asdict(self), indent=0) + "\n")

    @classmethod
    def read(cls, path: Path) -> Split:
        """Read a split file.

        Raises:
            DataError: not a split file.
            SplitError: an id occurs twice.
        """
        try:
            fields = parse_json(path.read_text(encoding="utf-8"))
            split = cls(fields["name"], *(list(fields.get(part, [])) for part in PARTS))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not a split file ({error!r}); expected name, train, validation, test.") from None
        split.check()
        return split


def product_of(goal_id: str) -> str:
    """The asin a goal id begins with."""
    return goal_id.rsplit("-", 1)[0]


def make_split(name: str, goal_ids: Iterable[str], *, seed: int) -> Split:
    """Cut goals into a split. The result depends on the set of ids and the seed, not on their order.

    Raises:
        SplitError: an unknown name, or too few goals or products.
    """
    ids = sorted(goal_ids)
    rng = random.Random(f"{name}:{seed}")
    if name == "by_product":
        return _by_product(ids, rng)
    if name not in SPLIT_NAMES:
        raise SplitError(f"split {name!r}: known are {', '.join(SPLIT_NAMES)}.")
    n_test, n_validation = (500, 1000) if name == "official" else (0, 500)
    if len(ids) <= n_test + n_validation:
        raise SplitError(f"split {name!r} needs more than {n_test + n_validation} goals; there are {len(ids)}.")
    rng.shuffle(ids)
    held_out = n_test + n_validation
    return Split(name, train=ids[held_out:], validation=ids[n_test:held_out], test=ids[:n_test])


def _by_product(ids: list[str], rng: random.Random) -> Split:
    products = sorted({product_of(goal_id) for goal_id in ids})
    if len(products) < 3:
        raise SplitError(f"split 'by_product' needs goals of at least 3 products; there are {len(products)}.")
    rng.shuffle(products)
    size = max(1, len(products) // 10)
    side = {asin: "test" if i < size else "validation" if i < 2 * size else "train" for i, asin in enumerate(products)}
    rng.shuffle(ids)
    parts = {part: [goal_id for goal_id in ids if side[product_of(goal_id)] == part] for part in PARTS}
    return Split("by_product", **parts)
