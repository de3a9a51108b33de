# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from siri_verl.envs.panels import Panel, PanelError, check_disjoint, make_panel, write_dataset


def panel(*ids, split="train"):
    return Panel("toy", ids, {"max_turns": 5}, split)


def test_a_panel_file_reads_back(tmp_path):
    written = panel("a", "b", "ü")
    written.write(tmp_path / "deep" / "panel.json")
    assert Panel.read(tmp_path / "deep" / "panel.json") == written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version is 2"),
        ({"task_ids": "a"}, "field 'task_ids' is 'a'; expected a list"),
        ({"task_ids": []}, "task_ids is empty"),
        ({"task_ids": ["a", 3]}, "holds 3"),
        ({"task_ids": ["a", "b", "a"]}, "'a' occur.* twice"),
        ({"environment": None}, "field 'environment' is None; expected a str"),
        ({"env_kwargs": []}, "field 'env_kwargs'"),
    ],
)
def test_a_malformed_panel_file_is_named(tmp_path, change, message):
    path = tmp_path / "panel.json"
    panel("a").write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(PanelError, match=message) as caught:
        Panel.read(path)
    assert str(path) in str(caught.value)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(PanelError, match="no such panel file"):
        Panel.read(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(PanelError, match="broken.json: not JSON"):
        Panel.read(tmp_path / "broken.json")


def test_overlap_is_named():
    check_disjoint(panel("a", "b"), panel("c", split="validation"))
    with pytest.raises(PanelError, match=r"2 task\(s\).*'train'.*'validation'.*'b', 'c'"):
        check_disjoint(panel("a", "b", "c"), panel("c", "b", "d", split="validation"))


@given(st.sets(st.text(min_size=1, max_size=5), min_size=1, max_size=30), st.integers(0, 99), st.data())
def test_subsets_are_drawn_by_seed_alone(ids, seed, data):
    size = data.draw(st.integers(1, len(ids)))
    ordered = sorted(ids)
    one, two = panel(*ordered).subset(size, seed), panel(*reversed(ordered)).subset(size, seed)
    assert one.task_ids == two.task_ids
    assert len(one.task_ids) == size
    assert set(one.task_ids) <= ids
    assert one.env_kwargs == {"max_turns": 5} and one.split == "train"


def test_subsets_differ_between_seeds_and_have_limits():
    whole = panel(*map(str, range(100)))
    assert whole.subset(20, 0).task_ids != whole.subset(20, 1).task_ids
    for size in (0, 101):
        with pytest.raises(PanelError, match=f"size is {size}; the panel has 100"):
            whole.subset(size, 0)


def test_panels_of_an_environment():
    train, validation = (make_panel("toy", {}, split) for split in ("train", "validation"))
    check_disjoint(train, validation)
    assert len(train.task_ids) == 48 and train.split == "train"
    assert len(make_panel("toy", {}, None).task_ids) == 64
    few = make_panel("toy", {"max_turns": 4}, "validation", size=5, seed=3)
    assert len(few.task_ids) == 5
    assert set(few.task_ids) < set(validation.task_ids)
    assert few.env_kwargs == {"max_turns": 4}


def test_verl_reads_the_dataset(tmp_path):
    """verl's own dataset and collate function, with the tokenizer-dependent length filter switched off."""
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    chosen = make_panel("toy", {}, "validation", size=4, seed=0)
    path = write_dataset(chosen, tmp_path / "validation.parquet")
    config = OmegaConf.create({"cache_dir": str(tmp_path / "cache"), "filter_overlong_prompts": False})
    dataset = RLHFDataset(data_files=str(path), tokenizer=None, config=config)
    assert len(dataset) == 4
    batch = collate_fn([dataset[index] for index in range(4)])
    assert list(batch["task_id"]) == list(chosen.task_ids) and list(batch["index"]) == [0, 1, 2, 3]
    assert batch["raw_prompt"][2] == [{"role": "user", "content": chosen.task_ids[2]}]
    assert set(batch["agent_name"]) == {"siri_env"} and set(batch["environment"]) == set(batch["data_source"]) == {
        "toy"
    }
    assert set(batch["split"]) == {"validation"} and isinstance(batch["split"], np.ndarray)
    assert batch["reward_model"][0]["ground_truth"] == "" and batch["extra_info"][3]["task_id"] == chosen.task_ids[3]
    with pytest.raises(PanelError, match="ends in .parquet"):
        write_dataset(chosen, tmp_path / "validation.json")
