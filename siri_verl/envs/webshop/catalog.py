# SPDX-License-Identifier: Apache-2.0
"""The catalogue: products, goals, splits and search over one prepared store, shared by all processes through memory
maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from siri_verl.envs.webshop.goals import Goal
from siri_verl.envs.webshop.product import Product
from siri_verl.envs.webshop.search import Index
from siri_verl.envs.webshop.splits import Split, SplitError
from siri_verl.envs.webshop.store import Blob, read_manifest

_decode_product = msgspec.msgpack.Decoder(Product).decode
_KEPT = 512  # decoded products kept per process; a results page shows ten


class Catalog(Mapping[str, Product]):
    """A mapping of asin to `Product`, with search.

    Get one with `Catalog.open(store)` or with `catalog_from_files(products, attributes)` of `prepare`. Processes share
    the memory pages of the store; pickling sends the path alone.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        """The store's directory."""
        self.manifest: dict[str, Any] = read_manifest(self.path)
        """What `prepare` wrote: counts, seed, sources, type_backend, skipped splits."""
        self._products = Blob(self.path, "products", "asins")
        self._index = Index(self.path / "search")
        self.goals = Goals(self)
        """Goal id to `Goal`."""
        self._decoded = lru_cache(maxsize=_KEPT)(self._decode)
        self._split = lru_cache(maxsize=None)(self._read_split)

    @classmethod
    def open(cls, store: Path | str) -> Catalog:
        """Open a prepared store.

        Raises:
            DataError: not a store, another format version, or damaged.
        """
        return cls(store)

    def search(self, query: str, k: int = 50) -> list[str]:
        """The asins of the at most `k` best products for a query, best first, ranked as Lucene's BM25 does.

        Raises:
            ValueError: `k` is not positive.
        """
        return [asin.decode() for asin in self._products.keys[self._index.search(query, k)].tolist()]

    def __getitem__(self, asin: str) -> Product:
        number = self._products.find(asin)
        if number is None:
            raise KeyError(f"{asin!r} is none of the {len(self)} products of {self.path}.")
        return self._decoded(number)

    def __contains__(self, asin: object) -> bool:
        return self._products.find(asin) is not None

    def __len__(self) -> int:
        return len(self._products)

    def __iter__(self) -> Iterator[str]:
        return (asin.decode() for asin in self._products.keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"Catalog({str(self.path)!r}, {len(self)} products, {len(self.goals)} goals)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Catalog.open, (str(self.path),)

    @property
    def type_backend(self) -> str:
        """What tagged the nouns of the titles: "spacy" or "rules"."""
        return self.manifest["type_backend"]

    @property
    def split_names(self) -> list[str]:
        """The splits this store has."""
        return sorted(path.stem for path in (self.path / "splits").glob("*.json"))

    def split(self, name: str) -> Split:
        """The split of this name.

        Raises:
            SplitError: there is none; the message lists those there are and why this one is not.
        """
        return self._split(name)

    def _read_split(self, name: str) -> Split:
        if name not in self.split_names:
            reason = self.manifest["splits_skipped"].get(name)
            raise SplitError(
                f"split {name!r}: {self.path} has {', '.join(self.split_names) or 'no splits'}"
                + (f" ({reason})" if reason else ".")
            )
        return Split.read(self.path / "splits" / f"{name}.json")

    def _decode(self, number: int) -> Product:
        return _decode_product(self._products.record(number))


class Goals(Mapping[str, Goal]):
    """A read-only mapping of goal id to `Goal`; goals are decoded when asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._blob = Blob(catalog.path, "goals", "goal_ids")

    def __getitem__(self, goal_id: str) -> Goal:
        number = self._blob.find(goal_id)
        if number is None:
            raise KeyError(f"{goal_id!r} is none of the {len(self)} goals of {self._catalog.path}.")
        fields = msgspec.msgpack.decode(self._blob.record(number))
        product = self._catalog[fields["asin"]]
        return Goal(
            id=goal_id,
            category=product.category,
            query=product.query,
            name=product.title,
            product_category=product.product_category,
            nouns=product.nouns,
            **fields,
        )

    def __contains__(self, goal_id: object) -> bool:
        return self._blob.find(goal_id) is not None

    def __len__(self) -> int:
        return len(self._blob)

    def __iter__(self) -> Iterator[str]:
        return (goal_id.decode() for goal_id in self._blob.keys)
