# SPDX-License-Identifier: Apache-2.0
"""Writes the demo catalogue: official files, and the store made from them by the same code as for the real ones.
The folder appears complete or not at all.

    siri-verl data webshop-demo --out DIR            # or: generate(DIR, seed=0, products=5760)

DIR then holds `official/items_shuffle.json`, `items_ins_v2.json` and `items_human_ins.json`, the prepared `store/`, and
`panels.json`: panel -> department -> task ids. Panels share no product and no instruction. The store knows them as the
splits `demo` (train, validation = development, test) and `demo_warm_start` (train alone).
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siri_verl.demos.webshop import words
from siri_verl.demos.webshop.layouts import FAMILY_SIZE, LAYOUTS, NEAR_DUPLICATE, OPTIONS_COUNT, PER_PAGE, Slot
from siri_verl.envs.webshop.catalog import Catalog
from siri_verl.envs.webshop.prepare import prepare
from siri_verl.envs.webshop.splits import Split
from siri_verl.files import write_text_atomically
from siri_verl.outputs import exclusive, new_folder

PRODUCTS, ATTRIBUTES, HUMAN, PANELS = "items_shuffle.json", "items_ins_v2.json", "items_human_ins.json", "panels.json"
OFFICIAL, STORE = "official", "store"
SPLIT, WARM_START_SPLIT = "demo", "demo_warm_start"

PANEL_SHARES = {"warm_start": 1 / 3, "train": 1 / 3, "development": 1 / 6, "test": 1 / 6}
"""Share of each noun's families. The warm start sees no product that reinforcement learning trains or is judged on."""

INSTRUCTIONS_PER_FAMILY = 2
_NOUN_COUNT = sum(len(nouns) for nouns in words.NOUNS.values())
MAX_PRODUCTS = len(words.MODIFIERS) * _NOUN_COUNT * FAMILY_SIZE
MIN_PRODUCTS = 6 * _NOUN_COUNT * FAMILY_SIZE


@dataclass(frozen=True)
class Family:
    """A product family: its place in the shop and the panel that owns it."""

    department: str
    noun: str
    modifier: str
    panel: str

    @property
    def name(self) -> str:
        return f"{self.modifier} {self.noun}"


def families(seed: int, modifiers: int) -> list[Family]:
    """Every family in the order of `seed`.

    Which panel a family belongs to is the same for every seed: the shops of other seeds, which the warm start learns
    in, hold no family that a test asks for.
    """
    dealer = random.Random("panels")
    found = []
    for department, nouns in words.NOUNS.items():
        for noun in nouns:
            names = dealer.sample(words.MODIFIERS, len(words.MODIFIERS))[:modifiers]
            start, share = 0, 0.0
            for panel, part in PANEL_SHARES.items():
                share += part
                stop = round(share * modifiers)
                found += [Family(department, noun, name, panel) for name in names[start:stop]]
                start = stop
    random.Random(f"families:{seed}").shuffle(found)
    return found


def _prices(slots: list[Slot], rng: random.Random) -> list[int]:
    """Dollars per slot. The low prices undercut the right product's, so that page 1 has one clear cheapest."""
    goal = rng.choice(words.GOAL_PRICES)
    high = rng.sample(words.HIGH_PRICES, FAMILY_SIZE)
    low = [p for p in words.LOW_PRICES if p != goal]
    cheapest = rng.choice([p for p in low if p < goal])
    rest = rng.sample([p for p in low if p > cheapest], FAMILY_SIZE)
    first_low = [k for k, slot in enumerate(slots[:PER_PAGE]) if slot.price == "low" and k > 0]
    chosen = rng.choice(first_low) if first_low else None
    prices = []
    for k, slot in enumerate(slots):
        prices.append({"goal": goal, "high": high[k], "low": cheapest if k == chosen else rest[k]}[slot.price])
    return prices


def _product(
    family: Family,
    asin: str,
    slot: Slot,
    price: int,
    attribute: str,
    colors: list[str],
    brand: str,
    style: str,
    rng: random.Random,
) -> tuple[dict[str, Any], list[str]]:
    """One record of the product file and its attributes. Every index text of a family has the same number of words."""
    others = rng.sample([a for a in words.ATTRIBUTES if a != attribute], 2)
    listed = rng.sample([attribute, others[0]], 2) if slot.where in ("title", "features") else others
    title_word = attribute if slot.where == "title" else style
    described = attribute if slot.where in ("title", "description") else rng.choice(words.STYLES)
    options = {"color": colors, "size": list(words.SIZES)}
    record = {
        "asin": asin,
        "name": f"{brand} {title_word} {family.name}",
        "full_description": f"a {described} piece for the {family.department}",
        "small_description": [f"{brand} quality", *listed],
        "pricing": f"${price}.00",
        "images": [],
        "category": family.department,
        "query": family.name,
        "product_category": f"{family.department} \u203a {family.noun}",
        "customization_options": {name: [{"value": v} for v in values] for name, values in options.items()},
    }
    return record, sorted({*listed, *([attribute] if slot.where == "description" else [])})


def _instructions(family: Family, attribute: str, colors: list[str], rng: random.Random) -> list[dict[str, Any]]:
    """What people might write about the family's right product. All name options; not everywhere do those count."""
    written = []
    for template in rng.sample(words.INSTRUCTIONS, INSTRUCTIONS_PER_FAMILY):
        color, size = rng.choice(colors), rng.choice(words.SIZES)
        options = [color, size] if family.department in OPTIONS_COUNT else []
        phrase = rng.choice(words.OPTION_PHRASES).format(color=color, size=size)
        text = template.format(attribute=attribute, family=family.name, department=family.department, options=phrase)
        entry = {"instruction": text, "instruction_attributes": [attribute], "instruction_options": options}
        written.append(entry)
    return written


def _family_products(
    family: Family, asins: list[str], rng: random.Random
) -> Iterator[tuple[dict[str, Any], list[str], list[dict[str, Any]] | None]]:
    """(record, attributes, instructions of the right product or None) per slot."""
    slots = LAYOUTS[family.department](rng)
    prices = _prices(slots, rng)
    attribute = rng.choice(words.ATTRIBUTES)
    brands, styles = rng.sample(words.BRANDS, FAMILY_SIZE), rng.sample(words.STYLES, FAMILY_SIZE)
    if family.department in NEAR_DUPLICATE:
        first, second = NEAR_DUPLICATE[family.department]
        brands[second], styles[second] = brands[first], styles[first]
    colors = rng.sample(words.COLORS, 3)
    for k, slot in enumerate(slots):
        record, attributes = _product(family, asins[k], slot, prices[k], attribute, colors, brands[k], styles[k], rng)
        yield record, attributes, _instructions(family, attribute, colors, rng) if slot.right else None


@dataclass
class _Catalogue:
    """What is written."""

    records: list[dict[str, Any]]
    attributes: dict[str, dict[str, list[str]]]
    human: dict[str, list[dict[str, Any]]]
    owner: dict[str, Family]
    """Right product -> its family."""


def _compose(seed: int, all_families: list[Family]) -> _Catalogue:
    rng = random.Random(f"catalogue:{seed}")
    codes = rng.sample(words.ASIN_FAMILIES, len(all_families))
    made = _Catalogue([], {}, {}, {})
    for family, code in zip(all_families, codes, strict=True):
        # search breaks ties by document id, which is the asin's order
        asins = [item + code for item in sorted(rng.sample(words.ASIN_ITEMS, FAMILY_SIZE))]
        for record, known, instructions in _family_products(family, asins, rng):
            asin = record["asin"]
            made.records.append(record)
            made.attributes[asin] = {"attributes": known}
            if instructions is not None:
                made.human[asin] = instructions
                made.owner[asin] = family
    return made


def generate(
    out: Path | str,
    *,
    seed: int = 0,
    products: int = MAX_PRODUCTS,
    panels: Collection[str] = tuple(PANEL_SHARES),
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the demo catalogue.

    Args:
        out: folder, missing or empty.
        seed: decides every word of it, and every price limit.
        products: how many; rounded down to whole families for every noun.
        panels: only the families of these panels; a catalogue of some is smaller.
        overwrite: replace a catalogue that is there.

    Returns:
        Counts: products, families and tasks per panel.

    Raises:
        ValueError: `products` outside what the word lists can name, or an unknown panel.
        FileExistsError: `out` holds something that may not be replaced, or another process is writing it.
    """
    if not MIN_PRODUCTS <= products <= MAX_PRODUCTS:
        raise ValueError(f"products: got {products}; the demo shop's words name {MIN_PRODUCTS} to {MAX_PRODUCTS}")
    if not panels or set(panels) - set(PANEL_SHARES):
        raise ValueError(f"panels: got {sorted(panels)}; known: {', '.join(PANEL_SHARES)}")
    all_families = [f for f in families(seed, products // (_NOUN_COUNT * FAMILY_SIZE)) if f.panel in panels]
    made = _compose(seed, all_families)
    out = Path(out)
    parts = (OFFICIAL, STORE, PANELS)
    with (
        exclusive(out),
        new_folder(out, "a demo shop", parts=parts, mark=PANELS, overwrite=overwrite) as folder,
    ):
        ids = _write(folder, made, seed)
    counts = {"products": len(made.records), "families": len(all_families)}
    return counts | {f"tasks/{panel}": len(found) for panel, found in ids.items()}


def _write(folder: Path, made: _Catalogue, seed: int) -> dict[str, list[str]]:
    """Write official files, store and panels; panel -> task ids."""
    official = folder / OFFICIAL
    for file, content in ((PRODUCTS, made.records), (ATTRIBUTES, made.attributes), (HUMAN, made.human)):
        write_text_atomically(official / file, json.dumps(content, indent=0))
    catalog = prepare(
        official / PRODUCTS,
        official / ATTRIBUTES,
        folder / STORE,
        official / HUMAN,
        seed=seed,
        type_backend="rules",  # the same store everywhere; a family's products are of one kind by their query anyway
        show_progress=False,
    )
    tasks: dict[str, dict[str, list[str]]] = {panel: {d: [] for d in words.DEPARTMENTS} for panel in PANEL_SHARES}
    for goal in catalog.goals.values():
        family = made.owner[goal.asin]
        tasks[family.panel][family.department].append(goal.id)
    ids = {panel: [i for listed in found.values() for i in listed] for panel, found in tasks.items()}
    _write_splits(catalog, ids, seed)
    write_text_atomically(folder / PANELS, json.dumps(tasks, indent=0))
    return ids


def _write_splits(catalog: Catalog, ids: dict[str, list[str]], seed: int) -> None:
    """The panels as splits of the store, each in one shuffled order."""
    shuffled = {panel: random.Random(f"order:{seed}:{panel}").sample(found, len(found)) for panel, found in ids.items()}
    folder = catalog.path / "splits"
    Split(SPLIT, shuffled["train"], shuffled["development"], shuffled["test"]).write(folder)
    Split(WARM_START_SPLIT, shuffled["warm_start"], [], []).write(folder)
