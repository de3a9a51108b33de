# SPDX-License-Identifier: Apache-2.0
"""Text that UTF-8 cannot hold, and JSON that Python cannot parse, wherever files are written and read."""

import json
import re
from pathlib import Path

import pytest
from support.tiny_catalog import record

import siri_verl
from siri_verl.envs.panels import Panel, PanelError, write_dataset
from siri_verl.envs.webshop.prepare import prepare
from siri_verl.files import encode, parse_json, read_json_lines, without_surrogates, write_text_atomically
from siri_verl.trajectory.file import append_trajectories, read_trajectories
from siri_verl.trajectory.turn import Trajectory

HALF = "cut in the middle \ud83d"
WHOLE = "cut in the middle \ufffd"


def test_half_of_a_surrogate_pair_becomes_the_replacement_character(tmp_path):
    assert encode(HALF).decode() == WHOLE and encode("a\ud83d\ude00é").decode() == "a\ufffd\ufffdé"
    assert without_surrogates({HALF: [HALF, 1, None, {"a": HALF}]}) == {WHOLE: [WHOLE, 1, None, {"a": WHOLE}]}
    write_text_atomically(tmp_path / "x", HALF)
    assert (tmp_path / "x").read_text(encoding="utf-8") == WHOLE


def test_every_module_writes_text_through_files():
    """Other ways to write text end with UnicodeEncodeError for half of a surrogate pair."""
    ways = re.compile(r'\.write_text\(|open\((?:[^()]*, )?"[wax]\+?"|encode\([^()]*"replace"|json\.dump\(')
    sources = Path(siri_verl.__file__).parent.rglob("*.py")
    assert [str(path) for path in sources if ways.search(path.read_text(encoding="utf-8"))] == []


def test_a_store_holds_the_replacement_character(tmp_path):
    files = {
        "products": [record("B01", HALF, full_description=HALF, customization_options={HALF: [{"value": HALF}]})],
        "attributes": {"B01": {"attributes": [HALF], "instruction": HALF, "instruction_attributes": [HALF]}},
        "human": {"B01": [{"instruction": HALF, "instruction_attributes": [HALF], "instruction_options": [HALF]}]},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = {name: tmp_path / f"{name}.json" for name in files}
    catalog = prepare(**paths, out=tmp_path / "store", goals="both", show_progress=False)
    product = catalog["B01"]
    assert (product.title, product.description, product.attributes) == (WHOLE, WHOLE, [WHOLE])
    assert product.options == {WHOLE: [WHOLE]} and catalog.search("middle") == ["B01"]
    assert [goal.attributes for goal in catalog.goals.values()] == [[WHOLE], [WHOLE]]


def test_a_trajectory_with_half_a_pair_is_written(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    append_trajectories(path, [Trajectory(source="x", step=1, task_id="t", task=HALF, turns=(), success=True)])
    assert [trajectory.task for trajectory in read_trajectories(path).trajectories] == [WHOLE]


@pytest.mark.parametrize("fields", [{"task_ids": ["a\ud83d"]}, {"split": "a\ud83d"}, {"environment": "a\ud83d"}])
def test_panels_refuse_names_that_would_be_others_in_a_file(fields):
    with pytest.raises(PanelError, match="half of a surrogate pair"):
        Panel(**{"environment": "toy", "task_ids": ["a"]} | fields)


def test_panels_refuse_settings_that_would_be_others_in_a_file(tmp_path):
    panel = Panel("toy", ("a",), {"data": "a\ud83d"})
    with pytest.raises(PanelError, match="env_kwargs.*half of a surrogate pair"):
        panel.write(tmp_path / "p.json")
    assert list(tmp_path.iterdir()) == []
    write_dataset(panel, tmp_path / "p.parquet")


def test_json_nested_too_deeply_is_a_value_error(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(deep)
    path = tmp_path / "x.json"
    path.write_text(deep + "\n")
    with pytest.raises(ValueError, match="nested too deeply"):
        list(read_json_lines(path, b"{"))
    with pytest.raises(PanelError, match="nested too deeply"):
        Panel.read(path)
