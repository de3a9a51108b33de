# SPDX-License-Identifier: Apache-2.0
"""Noun lists and downloads."""

import json

import pyarrow
import pyarrow.parquet
import pytest
from support.tiny_catalog import ATTRIBUTES, PRODUCTS

from siri_verl.envs.webshop import DataError
from siri_verl.envs.webshop.download import DownloadError, check_json_start, download, from_hub
from siri_verl.envs.webshop.nouns import available_backend, nouns_of, rule_nouns, tag_titles
from siri_verl.envs.webshop.prepare import catalog_from_files


@pytest.mark.parametrize(
    ("title", "nouns"),
    [
        ("Women's Sexy Red Cotton Dress with Pockets", ["women", "cotton", "dress", "pockets"]),
        ("Set of 2 Waterproof Table Covers, 60 x 90", ["set", "table", "covers"]),
        ("Beautifully Printed Family Jelly", ["family", "jelly"]),
        ("100% 2-in-1", []),
    ],
)
def test_rule_nouns(title, nouns):
    assert rule_nouns(title) == nouns


def test_backends():
    assert list(tag_titles(["Oak Table", "Hat"], "rules")) == [["oak", "table"], ["hat"]]
    assert nouns_of("Oak Table") == tuple(next(tag_titles(["Oak Table"])))
    if available_backend() == "rules":
        with pytest.raises(ValueError, match="install spacy and its model"):
            tag_titles(["x"], "spacy")


def test_spacy_tags_nouns_and_proper_nouns():
    if available_backend() != "spacy":
        pytest.skip("needs spaCy and its model en_core_web_sm")
    assert set(next(tag_titles(["a red cotton dress"], "spacy"))) >= {"cotton", "dress"}


def write_parquet(folder, rows):
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train-00000.parquet")
    return folder


def test_hub_data_sets_become_official_files(tmp_path, official_files):
    """Rows as the Hub's data sets hold them (lists, objects as JSON text) give the catalogue of the official files."""
    direct = catalog_from_files(official_files["products"], official_files["attributes"])
    rows = []
    for product in (direct[asin] for asin in direct):
        record = next(record for record in PRODUCTS if record["asin"] == product.asin)
        entry = ATTRIBUTES.get(product.asin, {})
        prices = [float(price) for price in record["pricing"].split("$")[1:]] or [100.0]
        bullets = record["small_description"]
        row = {
            **{name: record[name] for name in ("asin", "name", "full_description", "category", "product_category")},
            "query": product.query,
            "pricing": json.dumps(prices),
            "small_description": json.dumps(bullets if isinstance(bullets, list) else [bullets]),
            "options": json.dumps(product.options),
            "Attributes": json.dumps(product.attributes),
            "instruction_text": entry.get("instruction"),
            "instruction_attributes": json.dumps(entry.get("instruction_attributes", [])),
        }
        rows.append(row)
    goal = {
        "asin": "B01",
        "instruction_text": "i want a shirt, and price lower than 40.00 dollars",
        "attributes": '["slim fit"]',
        "goal_options": '["red | white"]',
    }
    paths = from_hub(write_parquet(tmp_path / "p", rows), write_parquet(tmp_path / "g", [goal]), tmp_path)
    through_hub = catalog_from_files(paths["products"], paths["attributes"])
    assert dict(through_hub) == dict(direct)
    assert dict(through_hub.goals) == dict(direct.goals)
    human = json.loads(paths["human"].read_text())
    assert human == {
        "B01": [
            {
                "instruction": "i want a shirt",
                "instruction_attributes": ["slim fit"],
                "instruction_options": ["red | white"],
            }
        ]
    }


def test_texts_of_the_hub_that_look_like_json_stay_texts(tmp_path):
    texts = {"name": '"Vintage"', "full_description": "[2]", "category": '["a"]', "query": "{}"}
    texts["product_category"] = '"a"'
    lists = {"small_description": '["a"]', "options": "{}", "Attributes": "[]"}
    row = {"asin": "B01", **texts, **lists, "pricing": "[1e-05]"}
    goal = {"asin": "B01", "instruction_text": '"a"', "attributes": '["a"]', "goal_options": "[]"}
    paths = from_hub(write_parquet(tmp_path / "p", [row]), write_parquet(tmp_path / "g", [goal]), tmp_path)
    (product,) = json.loads(paths["products"].read_text())
    assert {name: product[name] for name in texts} == texts and product["pricing"] == "$0.00001"
    assert json.loads(paths["human"].read_text())["B01"][0]["instruction"] == '"a"'
    assert catalog_from_files(paths["products"], paths["attributes"])["B01"].price == 0.00001


def test_hub_errors(tmp_path):
    with pytest.raises(DataError, match=r"no \*\.parquet file"):
        from_hub(tmp_path, tmp_path, tmp_path)
    folder = write_parquet(tmp_path / "p", [{"asin": "B01"}])
    with pytest.raises(DataError, match=r"row 0: column 'name' is missing; it has asin"):
        from_hub(folder, folder, tmp_path)


def test_downloads_refuse_wrong_choices_and_wrong_answers(tmp_path):
    with pytest.raises(ValueError, match="source='ftp'"):
        download(tmp_path, source="ftp")
    with pytest.raises(ValueError, match="size='huge'"):
        download(tmp_path, size="huge")
    with pytest.raises(ValueError, match="unknown roles \\['prices'\\]"):
        download(tmp_path, drive_ids={"prices": "x"})
    with pytest.raises(ValueError, match="'hub' has only the small catalogue"):
        download(tmp_path, source="hub", size="full")
    page = tmp_path / "items.json"
    page.write_text("<!DOCTYPE html><p>Quota exceeded")
    with pytest.raises(DownloadError, match="begins with b'<!DOCTYPE html>"):
        check_json_start(page, "fetch it by hand")
    assert not page.exists()


def test_files_that_are_there_are_kept(tmp_path):
    for name in ("items_shuffle_1000.json", "items_ins_v2_1000.json", "items_human_ins.json"):
        (tmp_path / name).write_text("[]")
    paths = download(tmp_path)
    assert set(paths) == {"products", "attributes", "human"} and all(path.parent == tmp_path for path in paths.values())
