# SPDX-License-Identifier: Apache-2.0
"""Fetching WebShop's data from where it is published. The texts are scraped and carry no licence: do not redistribute.

Two sources: `drive`, the files the original's setup script names, and `hub`, two data sets on the Hugging Face Hub that
hold the small catalogue in processed form and are turned back into the official files here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from siri_verl.envs.base import DownloadError
from siri_verl.envs.webshop.product import DataError
from siri_verl.files import parse_json, write_text_atomically
from siri_verl.outputs import exclusive

DRIVE_FILES = {
    "small": {
        "products": ("items_shuffle_1000.json", "1EgHdxQ_YxqIQlvvq5iKlCrkEKR6-j0Ib"),
        "attributes": ("items_ins_v2_1000.json", "1IduG0xl544V_A_jv3tHXC0kyFi7PnyBu"),
        "human": ("items_human_ins.json", "14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O"),
    },
    "full": {
        "products": ("items_shuffle.json", "1A2whVgOO0euk5O13n2iYDM0bQRkkRduB"),
        "attributes": ("items_ins_v2.json", "1s2j6NgHljiZzQNL3veZaAiyW_qDEgBNi"),
        "human": ("items_human_ins.json", "14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O"),
    },
}
HUB_PRODUCTS, HUB_GOALS = "axon-rl/webshop", "axon-rl/webshop_instructions"
SOURCES = ("drive", "hub")
_JSON_COLUMNS = frozenset(
    "Attributes small_description pricing options instruction_attributes attributes goal_options".split()
)
_SUFFIX = re.compile(r", and price lower than [\d.]+ dollars$")


def download(
    out: Path | str, *, source: str = "drive", size: str = "small", drive_ids: dict[str, str] | None = None
) -> dict[str, Path]:
    """Fetch the official files into `out`; files that are there already are kept.

    Args:
        out: a directory, made if needed.
        source: "drive" (needs the package gdown) or "hub" (needs huggingface_hub).
        size: "small" (1,000 products) or "full" (1.18 million, 5 GB; only on "drive").
        drive_ids: other Google Drive ids by role ("products", "attributes", "human"), should the published ones move.

    Returns:
        Paths by role: products, attributes, human.

    Raises:
        DownloadError: no connection, a missing package, or an answer that is not the file.
        ValueError: an unknown choice.
    """
    if source not in SOURCES:
        raise ValueError(f"source={source!r}: known are {', '.join(SOURCES)}.")
    if size not in DRIVE_FILES:
        raise ValueError(f"size={size!r}: known are {', '.join(DRIVE_FILES)}.")
    if unknown := set(drive_ids or {}) - set(DRIVE_FILES[size]):
        raise ValueError(f"drive_ids: unknown roles {sorted(unknown)}; known are {', '.join(DRIVE_FILES[size])}.")
    if source == "hub" and size != "small":
        raise ValueError("source='hub' has only the small catalogue; use source='drive' for size='full'.")
    out = Path(out)
    with exclusive(out, wait=True):
        out.mkdir(parents=True, exist_ok=True)
        paths = {role: out / name for role, (name, _) in DRIVE_FILES[size].items()}
        if source == "drive":
            for role, (_, file_id) in DRIVE_FILES[size].items():
                _from_drive(paths[role], (drive_ids or {}).get(role, file_id))
        elif not all(path.is_file() for path in paths.values()):
            from_hub(_hub_snapshot(HUB_PRODUCTS), _hub_snapshot(HUB_GOALS), out)
    return paths


def _from_drive(path: Path, file_id: str) -> None:
    if path.is_file():
        return
    url = f"https://drive.google.com/uc?id={file_id}"
    by_hand = f"open {url} in a browser and save it as {path}"
    try:
        import gdown
    except ImportError:
        raise DownloadError(f"{path.name}: `pip install gdown` and try again, or {by_hand}.") from None
    partial = path.with_name(path.name + ".part")
    try:
        gdown.download(url, str(partial))
    except Exception as error:  # gdown raises its own and requests' errors without a common class
        partial.unlink(missing_ok=True)
        raise DownloadError(f"{path.name}: {type(error).__name__}: {error}; {by_hand}.") from error
    check_json_start(partial, by_hand)
    os.replace(partial, path)


def check_json_start(path: Path, by_hand: str) -> None:
    """Raise DownloadError, and delete the file, if it does not begin like JSON (a page about quotas does not)."""
    start = _head(path)
    if start[:1] not in (b"[", b"{"):
        path.unlink(missing_ok=True)
        raise DownloadError(f"{path.name}: the answer begins with {start[:24]!r}, not with JSON; {by_hand}.")


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(64).lstrip()


def _hub_snapshot(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise DownloadError(f"{name}: `pip install huggingface_hub` and try again.") from None
    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=["*.parquet"]))
    except Exception as error:  # connection and HTTP errors of several libraries
        raise DownloadError(f"{name}: {type(error).__name__}: {error}; try again, or take source='drive'.") from error


def from_hub(products: Path, goals: Path, out: Path) -> dict[str, Path]:
    """Turn the parquet files of the two Hub data sets into the official files.

    Args:
        products: a folder with the parquet files of `axon-rl/webshop`.
        goals: a folder with those of `axon-rl/webshop_instructions`. Their price limits are dropped: `prepare` draws
            its own.
        out: where to write; files that are there already are kept.

    Raises:
        DataError: a folder without parquet files, or a row without a field.
    """
    paths = {role: out / name for role, (name, _) in DRIVE_FILES["small"].items()}
    records, attributes = [], {}
    for where, row in _rows(products):
        asin = _field(row, "asin", where)
        records.append(_official_record(row, where))
        attributes[asin] = {"attributes": _field(row, "Attributes", where) or []}
        if row.get("instruction_text") and row.get("instruction_attributes"):
            attributes[asin] |= {
                "instruction": row["instruction_text"],
                "instruction_attributes": row["instruction_attributes"],
            }
    human: dict[str, list[dict[str, Any]]] = {}
    for where, row in _rows(goals):
        human.setdefault(_field(row, "asin", where), []).append(
            {
                "instruction": _SUFFIX.sub("", _field(row, "instruction_text", where)),
                "instruction_attributes": _field(row, "attributes", where),
                "instruction_options": _field(row, "goal_options", where),
            }
        )
    for role, content in (("products", records), ("attributes", attributes), ("human", human)):
        if not paths[role].exists():
            write_text_atomically(paths[role], json.dumps(content))
    return paths


def _official_record(row: dict[str, Any], where: str) -> dict[str, Any]:
    prices, options = row.get("pricing") or [], row.get("options") or {}
    prices = prices if isinstance(prices, list) else [prices]
    pricing = prices[0] if prices and isinstance(prices[0], str) else "".join(map(_dollars, prices))
    return {
        "asin": _field(row, "asin", where),
        "name": _field(row, "name", where),
        "full_description": _field(row, "full_description", where),
        "small_description": _field(row, "small_description", where),
        "pricing": pricing,
        "category": _field(row, "category", where),
        "query": _field(row, "query", where),
        "product_category": _field(row, "product_category", where),
        "customization_options": {name: [{"value": v} for v in values] for name, values in options.items()} or "",
    }


def _rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and row number, row) of all parquet files; columns of lists and objects are stored there as JSON text."""
    import pyarrow.parquet as parquet

    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: no *.parquet file; expected a downloaded data set.")
    for file in files:
        for number, row in enumerate(parquet.read_table(file).to_pylist()):
            yield f"{file}: row {number}", {name: _decoded(name, value) for name, value in row.items()}


def _decoded(column: str, value: Any) -> Any:
    """The value of a column of lists or objects from its JSON text; any other text as it is, whatever it looks like."""
    if column not in _JSON_COLUMNS or not isinstance(value, str):
        return value
    try:
        decoded = parse_json(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, list | dict) else value


def _dollars(price: Any) -> str:
    """A price as the official files write it, never with an exponent."""
    return f"${Decimal(str(price)):f}"


def _field(row: dict[str, Any], name: str, where: str) -> Any:
    if name not in row:
        raise DataError(f"{where}: column '{name}' is missing; it has {', '.join(row)}.")
    return row[name]
