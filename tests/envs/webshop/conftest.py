# SPDX-License-Identifier: Apache-2.0
"""The tiny catalogue as files, and where the real one is."""

import json
import os
from pathlib import Path

import pytest
from support.tiny_catalog import ATTRIBUTES, HUMAN, PRODUCTS

from siri_verl.envs.webshop.prepare import catalog_from_files

ROOT = Path(__file__).parents[3]


@pytest.fixture
def official_files(tmp_path):
    """Paths by role of the tiny catalogue's files."""
    paths = {}
    for role, content in (("products", PRODUCTS), ("attributes", ATTRIBUTES), ("human", HUMAN)):
        paths[role] = tmp_path / f"{role}.json"
        paths[role].write_text(json.dumps(content), encoding="utf-8")
    return paths


@pytest.fixture(scope="session")
def real_data():
    """The folder with 1,000 real products; the test is skipped where it is absent."""
    folder = Path(os.environ.get("SIRI_WEBSHOP_DATA", ROOT.parent / "shared/data/webshop_1k"))
    if not (folder / "items_shuffle_1000.json").is_file():
        pytest.skip(f"needs the real WebShop files: {folder} has no items_shuffle_1000.json (set SIRI_WEBSHOP_DATA)")
    return folder


@pytest.fixture(scope="session")
def real_catalog(real_data):
    """The real catalogue of 1,000 products."""
    return catalog_from_files(real_data / "items_shuffle_1000.json", real_data / "items_ins_v2_1000.json")


@pytest.fixture(scope="session")
def lucene_rankings(real_data):
    """The folder with recorded Lucene rankings, beside the real catalogue."""
    folder = real_data.parent / "lucene_rankings"
    if not folder.is_dir():
        pytest.skip(f"needs the recorded Lucene rankings: there is no {folder}")
    return folder
