# SPDX-License-Identifier: Apache-2.0
"""From the official files to a prepared store, in one pass over the products.

siri-verl data webshop --products items_shuffle_1000.json --attributes items_ins_v2_1000.json --out DIR

Half of a surrogate pair in a text of theirs, which no store can hold, becomes U+FFFD before anything is made of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable

import msgspec

from siri_verl.envs.webshop.catalog import Catalog
from siri_verl.envs.webshop.goals import KINDS, Goal, human_goals, synthetic_goals
from siri_verl.envs.webshop.nouns import available_backend, tag_titles
from siri_verl.envs.webshop.product import DataError, Product, parse_product
from siri_verl.envs.webshop.records import file_hash, iterate_array, read_object
from siri_verl.envs.webshop.reward import solved_by_own_product
from siri_verl.envs.webshop.search import IndexBuilder
from siri_verl.envs.webshop.splits import SPLIT_NAMES, SplitError, make_split
from siri_verl.envs.webshop.store import MANIFEST, PARTS, BlobWriter, write_manifest
from siri_verl.files import without_surrogates
from siri_verl.outputs import check_free, exclusive, new_folder

PRODUCTS = "a JSON list of products as in items_shuffle*.json"
ATTRIBUTES = "a JSON object {asin: {attributes: [...], instruction?, instruction_attributes?}} as in items_ins_v2*.json"
HUMAN = (
    "a JSON object {asin: [{instruction, instruction_attributes, instruction_options}, ...]} as in items_human_ins.json"
)
GOAL_CHOICES = ("auto", *KINDS, "both")
_FROM_PRODUCT = {"id", "category", "query", "name", "product_category", "nouns"}
UNSOLVABLE = "unsolvable_synthetic_goals"
"""Count in the manifest: synthetic goals that no purchase of their own product with their own options solves."""
_FOLDER: dict[str, Any] = {"what": "a prepared catalogue", "parts": PARTS, "mark": MANIFEST}
_BATCH = 1024


def prepare(
    products: Path | str,
    attributes: Path | str,
    out: Path | str,
    human: Path | str | None = None,
    *,
    seed: int = 233,
    goals: str = "auto",
    type_backend: str | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> Catalog:
    """Write a store into `out` and open it.

    Args:
        products: `items_shuffle*.json`; 1.18 million products take some 4 GB of memory and 20 minutes on one core.
        attributes: `items_ins_v2*.json`.
        out: the store's directory; it appears complete or not at all.
        human: `items_human_ins.json`; asins that are no product are ignored, as in the original.
        seed: seeds prices within a range, price limits and the order of goals.
        goals: "human", "synthetic", "both", or "auto": human ones if `human` is given, else synthetic ones.
        type_backend: "spacy", "rules" or None for the best one installed.
        overwrite: replace a store that is there.
        show_progress: show a progress bar on a terminal.

    Raises:
        DataError: a file is missing or malformed; names the file, the record and what was expected.
        FileExistsError: `out` exists, or another process is writing it.
        ValueError: an unknown choice, or human goals without `human`.
    """
    products, attributes, out = Path(products), Path(attributes), Path(out)
    kinds = _goal_kinds(goals, human is not None)
    backend = type_backend or available_backend()
    tag_titles([], backend)  # an unknown or missing backend fails here, before the long part
    if not products.is_file():
        raise DataError(f"{products}: no such file; expected {PRODUCTS}.")
    check_out(out, overwrite)  # also before the inputs are read
    inputs = _Inputs(products, attributes, None if human is None else Path(human), seed, kinds, backend)
    with exclusive(out):
        with new_folder(out, **_FOLDER, overwrite=overwrite) as folder:
            with _progress(products, show_progress) as report:
                counts, goal_ids, categories = _write_records(inputs, folder, report)
            skipped = _write_splits(goal_ids, folder, seed)
            sources = {"products": products, "attributes": attributes, "human": inputs.human_path}
            manifest = {
                "counts": counts,
                "seed": seed,
                "type_backend": backend,
                "categories": categories,
                "splits_skipped": skipped,
                "sources": {
                    role: {"name": path.name, "bytes": path.stat().st_size, "sha256": file_hash(path)}
                    for role, path in sources.items()
                    if path is not None
                },
            }
            write_manifest(folder, manifest)
        return Catalog.open(out)


def check_out(out: Path, overwrite: bool) -> None:
    """Raise FileExistsError if a store must not be written there."""
    check_free(out, **_FOLDER, overwrite=overwrite)


def catalog_from_files(
    products: Path | str, attributes: Path | str, human: Path | str | None = None, *, seed: int = 233
) -> Catalog:
    """Read the official files into a temporary store, which is removed together with the returned object.

    Use `prepare` and `Catalog.open` for a large catalogue, and for one that several runs share.

    Raises:
        DataError: a file is missing or malformed.
    """
    folder = tempfile.mkdtemp(prefix="siri_webshop_")
    try:
        catalog = prepare(products, attributes, Path(folder) / "store", human, seed=seed, show_progress=False)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(catalog, _remove, folder, os.getpid())
    return catalog


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child holds a copy of the catalogue and must leave the folder alone
        shutil.rmtree(folder, ignore_errors=True)


def _goal_kinds(goals: str, has_human: bool) -> tuple[str, ...]:
    if goals not in GOAL_CHOICES:
        raise ValueError(f"goals={goals!r}: known are {', '.join(GOAL_CHOICES)}.")
    if goals in ("human", "both") and not has_human:
        raise ValueError(f"goals={goals!r} needs the file of human instructions (human=, --human).")
    if goals == "auto":
        return ("human",) if has_human else ("synthetic",)
    return KINDS if goals == "both" else (goals,)


@dataclass
class _Inputs:
    products_path: Path
    attributes_path: Path
    human_path: Path | None
    seed: int
    kinds: tuple[str, ...]
    backend: str
    attributes: dict[str, Any] = field(init=False)
    human: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.attributes = without_surrogates(read_object(self.attributes_path, ATTRIBUTES))
        self.human = {} if self.human_path is None else without_surrogates(read_object(self.human_path, HUMAN))

    def products(self, report: Callable[[int], None]) -> Iterator[Product]:
        """Usable products in file order, without repeated asins and with nouns."""
        seen: set[str] = set()
        batch: list[Product] = []
        for number, record in iterate_array(self.products_path, PRODUCTS, report):
            where = f"{self.products_path}: record {number}"
            product = parse_product(
                without_surrogates(record),
                self.attributes,
                seed=self.seed,
                where=where,
                attributes_file=str(self.attributes_path),
            )
            if product is None or product.asin in seen:
                continue
            seen.add(product.asin)
            batch.append(product)
            if len(batch) == _BATCH:
                yield from self._with_nouns(batch)
                batch = []
        yield from self._with_nouns(batch)

    def _with_nouns(self, batch: list[Product]) -> Iterator[Product]:
        tagged = tag_titles([product.title for product in batch], self.backend)
        for product, nouns in zip(batch, tagged, strict=True):
            yield replace(product, nouns=tuple(nouns))

    def goals(self, product: Product) -> Iterator[Goal]:
        """The goals of one product."""
        if "human" in self.kinds and product.asin in self.human:
            where = f"{self.human_path}: entry {product.asin!r}"
            yield from human_goals(product, self.human[product.asin], seed=self.seed, where=where)
        if "synthetic" in self.kinds and product.asin in self.attributes:
            where = f"{self.attributes_path}: entry {product.asin!r}"
            yield from synthetic_goals(product, self.attributes[product.asin], seed=self.seed, where=where)


def _write_records(
    inputs: _Inputs, folder: Path, report: Callable[[int], None]
) -> tuple[dict[str, int], dict[str, list[str]], dict[str, int]]:
    """Write products, goals and index. Returns counts, goal ids by kind, and goals by category."""
    encode = msgspec.msgpack.Encoder().encode
    builder = IndexBuilder()
    product_blob, goal_blob = BlobWriter(folder, "products", "asins"), BlobWriter(folder, "goals", "goal_ids")
    goal_ids: dict[str, list[str]] = {kind: [] for kind in inputs.kinds}
    categories: dict[str, int] = {}
    unsolvable = 0
    for product in inputs.products(report):
        product_blob.add(product.asin, encode(product))
        builder.add(product.indexed_text)
        for goal in inputs.goals(product):
            record = {name: value for name, value in vars(goal).items() if name not in _FROM_PRODUCT}
            goal_blob.add(goal.id, encode(record))
            goal_ids[goal.kind].append(goal.id)
            unsolvable += goal.kind == "synthetic" and not solved_by_own_product(goal, product)
            categories[goal.category] = categories.get(goal.category, 0) + 1
    if not len(product_blob):
        raise DataError(f"{inputs.products_path}: no usable product among its records; expected {PRODUCTS}.")
    (folder / "search").mkdir()
    builder.write(folder / "search", product_blob.close())
    goal_blob.close()
    counts = {"products": len(product_blob)} | {f"{kind}_goals": len(ids) for kind, ids in goal_ids.items()}
    if "synthetic" in inputs.kinds:
        counts[UNSOLVABLE] = unsolvable
    return counts, goal_ids, categories


def _write_splits(goal_ids: dict[str, list[str]], folder: Path, seed: int) -> dict[str, str]:
    """Write every split the goals allow. Returns the reasons for those they do not.

    With both kinds of goals, `verl_agent` cuts the synthetic ones and the others the human ones, as their originals do.
    """
    (folder / "splits").mkdir()
    skipped = {}
    for name in SPLIT_NAMES:
        kind = "synthetic" if name == "verl_agent" else "human"
        ids = goal_ids.get(kind) or next((ids for ids in goal_ids.values() if ids), [])
        try:
            make_split(name, ids, seed=seed).write(folder / "splits")
        except SplitError as error:
            skipped[name] = str(error)
    return skipped


@contextmanager
def _progress(products: Path, show: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar over the bytes of the product file."""
    if not show:
        yield lambda done: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns) as bar:
        task = bar.add_task(f"preparing {products.name}", total=products.stat().st_size)
        yield lambda done: bar.update(task, completed=done)
        bar.update(task, completed=products.stat().st_size)
