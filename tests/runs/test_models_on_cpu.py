# SPDX-License-Identifier: Apache-2.0
"""Which folder holds a model's weights, and the light engine as a policy."""

import json

import pytest
import torch
from safetensors.torch import load_file
from support.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM

from siri_verl.light.policy import LightPolicy, Sampling
from siri_verl.runs.models import ModelFolderError, find_model, model_folder


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("hf") / "model")


@pytest.fixture(scope="module")
def run(tmp_path_factory, hugging_face):
    """A run's folder as verl leaves it: step 2 with shards alone, step 4 with a Hugging Face model too."""
    folder = tmp_path_factory.mktemp("run") / "myrun"
    state = AutoModelForCausalLM.from_pretrained(hugging_face, dtype=torch.float32).state_dict()
    for step in (2, 4):
        actor = folder / f"global_step_{step}" / "actor"
        (actor / "huggingface").mkdir(parents=True)
        for file in hugging_face.iterdir():
            if step == 4 or file.suffix != ".safetensors":
                (actor / "huggingface" / file.name).write_bytes(file.read_bytes())
        torch.save(state, actor / "model_world_size_1_rank_0.pt")
        (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    (folder / "latest_checkpointed_iteration.txt").write_text("4")
    return folder


def test_a_model_is_found_from_every_place_of_a_checkpoint(run, hugging_face):
    assert find_model(hugging_face).folder == hugging_face and find_model(hugging_face).name == "model"
    four, two = run / "global_step_4", run / "global_step_2"
    for start in (four, four / "actor", four / "actor" / "huggingface"):
        source = find_model(start)
        assert source.folder == four / "actor" / "huggingface" and not source.shards
    for start in (two, two / "actor", two / "actor" / "huggingface"):
        source = find_model(start)
        assert source.folder == two / "actor"
        assert source.shards
        assert source.name == "global_step_2"
    newest = find_model(run)
    assert newest.folder == four / "actor" / "huggingface" and newest.name == "myrun/global_step_4"


def test_a_path_without_a_model_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ModelFolderError, match="no such folder"):
        find_model(tmp_path / "nothing")
    with pytest.raises(ModelFolderError, match="no weights there.*huggingface.*shards.*save_freq"):
        find_model(tmp_path)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("7")
    with pytest.raises(ModelFolderError, match="global_step_7"):
        find_model(tmp_path)


def test_shards_are_merged_by_verl_and_the_merged_folder_goes_again(run, hugging_face):
    with model_folder(find_model(run / "global_step_2")) as folder:
        merged = load_file(folder / "model.safetensors")
        assert (folder / "tokenizer.json").is_file()
    assert not folder.exists()
    original = load_file(hugging_face / "model.safetensors")
    assert merged.keys() == original.keys()
    for name, tensor in merged.items():
        assert torch.equal(tensor.float(), original[name].bfloat16().float()), name


def test_damaged_shards_end_with_what_the_merger_said(run, tmp_path):
    actor = tmp_path / "global_step_1" / "actor"
    (actor / "huggingface").mkdir(parents=True)
    for file in (run / "global_step_2" / "actor" / "huggingface").iterdir():
        (actor / "huggingface" / file.name).write_bytes(file.read_bytes())
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    with pytest.raises(RuntimeError, match="model_world_size_1_rank_0.pt"):
        with model_folder(find_model(tmp_path / "global_step_1")):
            pass


def test_replies_depend_on_prompt_and_seed_alone(hugging_face):
    policy = LightPolicy(hugging_face, Sampling(), max_prompt_length=200, max_response_length=8)
    try:
        prompts = [policy.tokenizer.encode(f"prompt {i}") for i in range(6)]
        together = [policy.submit(f"a{i}", p, i) for i, p in enumerate(prompts)]
        together = [future.result(60) for future in together]
        assert all(1 <= len(reply) <= 8 for reply in together)
        assert [policy.submit(f"b{i}", p, i).result(60) for i, p in enumerate(prompts)] == together
        assert [policy.submit(f"c{i}", p, i + 1).result(60) for i, p in enumerate(prompts)] != together
        with pytest.raises(ValueError, match="request long: the prompt has 300 tokens"):
            policy.submit("long", [5] * 300, 0)
    finally:
        policy.close()


def test_greedy_replies_are_those_of_transformers(hugging_face):
    policy = LightPolicy(hugging_face, Sampling(temperature=0.0), max_prompt_length=64, max_response_length=6)
    model = AutoModelForCausalLM.from_pretrained(hugging_face, dtype=torch.float32)
    try:
        prompt = policy.tokenizer.encode("the coin is in the attic")
        mine = policy.submit("x", prompt, 0).result(60)
    finally:
        policy.close()
    theirs = model.generate(torch.tensor([prompt]), max_new_tokens=6, do_sample=False)[0, len(prompt) :]
    assert mine == theirs.tolist()


def test_lengths_the_model_cannot_hold_are_named(hugging_face):
    with pytest.raises(ValueError, match="max_prompt_length=1020.*max_position_embeddings 1024"):
        LightPolicy(hugging_face, Sampling(), max_prompt_length=1020, max_response_length=8)
