# SPDX-License-Identifier: Apache-2.0
"""From files to a catalogue: records, errors, the store, goals and splits."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_catalog import PRODUCTS, record

from siri_verl.envs.webshop import Catalog, DataError
from siri_verl.envs.webshop.goals import NO_LIMIT
from siri_verl.envs.webshop.prepare import catalog_from_files, prepare
from siri_verl.envs.webshop.splits import SplitError


@pytest.fixture
def catalog(official_files):
    return catalog_from_files(**official_files)


def test_products_are_read_as_the_original_reads_them(catalog):
    assert sorted(catalog) == ["B01", "B02", "B03", "B04"] and len(catalog) == 4
    shirt = catalog["B01"]
    assert shirt.options == {"color": ["navy blue", "red | white"], "size": ["small", "x-large"]}
    assert shirt.price_tag == "$19.99 to $27.99" and 19.99 <= shirt.price <= 27.99
    assert shirt.bullet_points == ("Machine wash", "Slim fit") and shirt.attributes == ["machine wash", "slim fit"]
    assert shirt.nouns and shirt.rating == "N.A."
    assert shirt.indexed_text == (
        "acme cotton shirt soft shirt for summer. machine wash color: navy blue, red | white, and size: small, x-large"
    )
    linen, table = catalog["B02"], catalog["B03"]
    assert (linen.price_tag, linen.price, linen.bullet_points) == ("$100.0", 100.0, ("One bullet only",))
    assert table.query == "console tables" and catalog["B04"].attributes == ["DUMMY_ATTR"]


def test_search_finds_and_ranks(catalog):
    assert catalog.search("oak table") == ["B03"]
    assert catalog.search("shirts") == ["B01", "B02"] and catalog.search("shirts", k=1) == ["B01"]
    assert catalog.search("zebra") == []


def test_unknown_keys_say_so(catalog):
    for key in ("B0", "", "é", 7):
        assert key not in catalog
        with pytest.raises(KeyError, match="none of the 4 products"):
            catalog[key]
    with pytest.raises(KeyError, match="none of the 2 goals"):
        catalog.goals["B01-h0"]


def test_human_goals(catalog):
    goals = {goal.asin: goal for goal in catalog.goals.values()}
    assert set(goals) == {"B01", "B04"}  # one without attributes and one without a product are left out
    goal = goals["B01"]
    assert goal.kind == "human"
    assert goal.goal_options == ["red | white"]
    assert goal.attributes == ["slim fit"]
    assert goal.instruction == f"i want a slim shirt in red, and price lower than {goal.price_upper:.2f} dollars"
    assert goal.price_upper > catalog["B01"].price and goal.price_upper % 10 == 0
    # only 990 lies above 985.50: no limit, nothing said
    assert goals["B04"].price_upper == NO_LIMIT and goals["B04"].instruction == "i need a wool hat"


def test_synthetic_goals_are_all_combinations_of_options(official_files, tmp_path):
    catalog = prepare(**official_files, out=tmp_path / "s", goals="synthetic", show_progress=False)
    shirts = [goal for goal in catalog.goals.values() if goal.asin == "B01"]
    assert len(catalog.goals) == 5 and len(shirts) == 4
    assert {tuple(goal.goal_options.values()) for goal in shirts} == {
        (color, size) for color in ("navy blue", "red | white") for size in ("small", "x-large")
    }
    assert all(
        goal.instruction.startswith(
            f"Find me machine wash shirts with color: {goal.goal_options['color']}"
            f", and size: {goal.goal_options['size']}"
        )
        for goal in shirts
    )
    assert {goal.kind for goal in catalog.goals.values()} == {"synthetic"}


def test_goal_ids_name_a_task_for_ever(official_files, tmp_path):
    """Pinned ids: were they to change, split files and results of earlier runs would name other tasks."""
    catalog = prepare(**official_files, out=tmp_path / "s", goals="both", show_progress=False)
    assert list(catalog.goals) == sorted(PINNED_IDS)
    # other products come and go, the order of the file changes: prices, limits and ids stay
    official_files["products"].write_text(json.dumps([record("A00", "New Lamp"), *reversed(PRODUCTS[:3])]))
    fewer = prepare(**official_files, out=tmp_path / "t", goals="both", show_progress=False)
    assert [goal for goal in catalog.goals.values() if goal.asin != "B04"] == list(fewer.goals.values())
    assert fewer["B01"] == catalog["B01"]
    # another seed draws other limits, and a task with another limit is another task
    other = prepare(**official_files, out=tmp_path / "u", goals="both", seed=7, show_progress=False)
    shared = set(other.goals) & set(catalog.goals)
    assert all(other.goals[goal_id] == catalog.goals[goal_id] for goal_id in shared)


def test_goals_do_not_depend_on_the_process(official_files, tmp_path):
    """Python orders sets of text by a seed of the process."""
    code = (
        "import sys; from siri_verl.envs.webshop.prepare import prepare; p, a, h, out = sys.argv[1:]\n"
        "goals = prepare(p, a, out, human=h, goals='both', show_progress=False).goals\n"
        "print(list(goals.values()))"
    )
    seen = set()
    for seed in ("1", "2"):
        files = [official_files[name] for name in ("products", "attributes", "human")]
        command = [sys.executable, "-c", code, *map(str, files), str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        seen.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    (goals,) = seen
    assert all(name in goals for name in PINNED_IDS)


PINNED_IDS = [
    "B01-h4d75c08e45",
    "B01-s445a401479",
    "B01-s6dbcab5515",
    "B01-s6fa584ee77",
    "B01-s7f81e042c8",
    "B03-s96ce1cb704",
    "B04-h105c8b075d",
]


def test_stores_are_shared_by_path_alone(official_files, tmp_path):
    catalog = prepare(**official_files, out=tmp_path / "store", show_progress=False)
    assert len(pickle.dumps(catalog)) < 500
    code = "import pickle,sys; c=pickle.load(sys.stdin.buffer); print(c['B03'].title, c.search('oak'), len(c.goals))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(catalog), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "Oak Console Table ['B03'] 2"
    assert Catalog.open(tmp_path / "store") == catalog
    assert list(tmp_path.glob(".*")) == []  # nothing temporary is left


def test_importing_the_catalogue_loads_no_framework():
    code = (
        "import sys; from siri_verl.envs.webshop import Catalog; print({'verl', 'torch', 'spacy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


def test_temporary_stores_go_with_their_catalogue(official_files):
    code = (
        "import sys; from siri_verl.envs.webshop.prepare import catalog_from_files\n"
        "c = catalog_from_files(*sys.argv[1:]); print(c.path); assert c.path.is_dir()"
    )
    args = [sys.executable, "-c", code, str(official_files["products"]), str(official_files["attributes"])]
    path = subprocess.run(args, capture_output=True, check=True, text=True).stdout.strip()
    assert path and not Path(path).parent.exists()


def test_a_store_is_never_half_written_nor_replaced_by_accident(official_files, tmp_path):
    out = tmp_path / "store"
    prepare(**official_files, out=out, show_progress=False)
    with pytest.raises(FileExistsError, match="overwrite"):
        prepare(**official_files, out=out, show_progress=False)
    official_files["products"].write_text('[{"asin": "B05"}]')
    with pytest.raises(DataError):
        prepare(**official_files, out=out, overwrite=True, show_progress=False)
    assert len(Catalog.open(out)) == 4
    official_files["products"].write_text(json.dumps([record("B05", "One Lamp")]))
    assert list(prepare(**official_files, out=out, overwrite=True, show_progress=False)) == ["B05"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    other = tmp_path / "documents"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not a prepared catalogue"):
        prepare(**official_files, out=other, overwrite=True, show_progress=False)


def test_damaged_stores_are_refused(official_files, tmp_path):
    out = tmp_path / "store"
    prepare(**official_files, out=out, show_progress=False)
    blob = out / "products.bin"
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"products\.bin: has \d+ bytes, expected"):
        Catalog.open(out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(DataError, match="format 99"):
        Catalog.open(out)
    with pytest.raises(DataError, match="manifest.json is missing"):
        Catalog.open(tmp_path)


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("products", None, r"products\.json: no such file; expected a JSON list of products"),
        ("products", "{}", r"record 0: the file starts with '\{', not with a JSON array"),
        ("products", "[]", "no usable product"),
        ("products", "[1]", r"record 0: expected an object .* found int 1"),
        ("products", json.dumps(PRODUCTS[:2])[:-40], "record 1: not valid JSON"),
        ("products", json.dumps(PRODUCTS[:2])[:-1], "record 2: the file ends early"),
        ("products", json.dumps(PRODUCTS[:1]) + "x", "record 1: there is text after the array's end, found 'x'"),
        ("products", json.dumps([{"asin": float("nan")}]), "record 0: field 'asin' is float nan; expected a string"),
        ("products", "[" * 100_000, "record 0: not valid JSON"),
        ("products", json.dumps([{"name": "x"}]), "record 0: field 'asin' is missing"),
        (
            "products",
            json.dumps([record("B1", 7)]),
            r"record 0 \(asin 'B1'\): field 'name' is int 7; expected a string",
        ),
        ("products", json.dumps([record("B1", "x", pricing="$a.b.")]), r"field 'pricing' is '\$a\.b\.'"),
        ("products", json.dumps([record("B1", "x", customization_options={"Size": [1]})]), "option 'Size'"),
        ("products", json.dumps([record("B1", "x", small_description=[1])]), "field 'small_description'"),
        ("attributes", None, r"attributes\.json: no such file"),
        ("attributes", "[]", "holds a JSON list; expected a JSON object"),
        ("attributes", "{", "not valid JSON"),
        ("attributes", '{"B01": {"attributes": "x"}}', "entry 'B01': field 'attributes' is 'x'"),
        ("human", '{"B01": {}}', "entry 'B01': is a dict; expected a list of instructions"),
        ("human", '{"B01": [{"instruction_attributes": ["x"]}]}', "instruction 0: field 'instruction' is None"),
        ("human", '{"B01": [{"instruction": "x", "instruction_attributes": "y"}]}', "'instruction_attributes' is 'y'"),
    ],
)
def test_malformed_files_name_file_record_and_expectation(official_files, role, content, message):
    if content is None:
        official_files[role].unlink()
    else:
        official_files[role].write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        catalog_from_files(**official_files)
    assert str(official_files[role]) in str(caught.value)


def test_wrong_choices_are_refused(official_files, tmp_path):
    with pytest.raises(ValueError, match="goals='all'"):
        prepare(**official_files, out=tmp_path / "s", goals="all")
    with pytest.raises(ValueError, match="needs the file of human instructions"):
        prepare(official_files["products"], official_files["attributes"], tmp_path / "s", goals="human")
    with pytest.raises(ValueError, match="type_backend='nltk'"):
        prepare(**official_files, out=tmp_path / "s", type_backend="nltk")


def test_splits_that_cannot_be_say_why(catalog):
    with pytest.raises(SplitError, match="needs more than 1500 goals; there are 2"):
        catalog.split("official")
    with pytest.raises(SplitError, match="'mine'.*has no splits"):
        catalog.split("mine")


def test_the_real_small_catalogue_has_the_known_goals(real_catalog):
    counts: dict[str, int] = {}
    for goal in real_catalog.goals.values():
        counts[goal.asin] = counts.get(goal.asin, 0) + 1
    assert (len(real_catalog), sum(counts.values()), len(counts), max(counts.values())) == (1000, 6910, 415, 558)
    assert real_catalog.split_names == ["by_product", "official", "verl_agent"]
    assert dataclasses.asdict(real_catalog["B06Y3VLDFB"])["price"] == 877.8


def test_an_empty_list_of_options_is_none(official_files):
    """As in the original, which looks whether there is anything."""
    content = [record("B01", "Lamp", customization_options=nothing) for nothing in ([], {}, "", None)]
    for product in content:
        official_files["products"].write_text(json.dumps([product]))
        assert catalog_from_files(**official_files)["B01"].options == {}
