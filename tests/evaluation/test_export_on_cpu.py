# SPDX-License-Identifier: Apache-2.0
"""`siri-verl export`: whole or not at all, never over something, and what it wrote loads and is the policy."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.evaluation.export import export_policy
from siri_verl.runs.models import ModelFolderError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run as verl leaves it: step 2 with shards alone, step 4 with a Hugging Face model whose config says bfloat16
    though its weights were saved in full precision, as verl's is."""
    folder = tmp_path_factory.mktemp("export") / "myrun"
    for step in (2, 4):
        model = make_tiny_model(folder.parent / f"model{step}", seed=step)
        actor = folder / f"global_step_{step}" / "actor"
        (actor / "huggingface").mkdir(parents=True)
        config = json.loads((model / "config.json").read_text())
        config.pop("torch_dtype", None)
        (model / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
        for file in model.iterdir():
            if step == 4 or file.suffix != ".safetensors":
                (actor / "huggingface" / file.name).write_bytes(file.read_bytes())
        state = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).state_dict()
        torch.save(state, actor / "model_world_size_1_rank_0.pt")
        (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    (folder / "latest_checkpointed_iteration.txt").write_text("4")
    return folder


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict()


def test_the_newest_checkpoint_as_it_is(run, tmp_path):
    said = export_policy(run, tmp_path / "policy")
    assert (said.step, said.dtype, said.weights, said.model) == (4, "float32", "as saved", "myrun/global_step_4")
    original = AutoModelForCausalLM.from_pretrained(run.parent / "model4", dtype=torch.float32).state_dict()
    mine = weights(tmp_path / "policy")
    assert mine.keys() == original.keys()
    assert all(torch.equal(value, original[name]) and value.dtype == torch.float32 for name, value in mine.items())
    words = "<think>go</think>"
    assert AutoTokenizer.from_pretrained(tmp_path / "policy").encode(words) == AutoTokenizer.from_pretrained(
        run.parent / "model4"
    ).encode(words)
    note = json.loads((tmp_path / "policy" / "siri_export.json").read_text())
    assert note["step"] == 4
    assert note["source"] == str(run)
    assert note["parameters"] == said.parameters
    assert not [path.name for path in (tmp_path / "policy").iterdir() if path.suffix == ".pt"]


def test_shards_of_a_named_step_are_merged(run, tmp_path):
    said = export_policy(run, tmp_path / "policy", step=2)
    assert said.step == 2
    assert said.dtype == "bfloat16"
    assert "merged from shards" in said.weights
    original = AutoModelForCausalLM.from_pretrained(run.parent / "model2", dtype=torch.float32).state_dict()
    assert all(torch.equal(v, original[n].bfloat16()) for n, v in weights(tmp_path / "policy").items())


def test_another_precision_and_a_folder_that_is_no_checkpoint(run, tmp_path):
    said = export_policy(run.parent / "model4", tmp_path / "policy", dtype="bfloat16")
    assert said.step is None and said.dtype == "bfloat16"
    assert all(value.dtype == torch.bfloat16 for value in weights(tmp_path / "policy").values())
    again = export_policy(tmp_path / "policy", tmp_path / "copy")
    assert (
        again.dtype == "bfloat16" and json.loads((tmp_path / "copy" / "siri_export.json").read_text())["step"] is None
    )


def test_nothing_is_overwritten_and_nothing_is_left_half(run, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        export_policy(run, there)
    assert not list(there.iterdir())
    damaged = tmp_path / "damaged"
    make_tiny_model(damaged)
    tensors = load_file(damaged / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match="missing keys.*layers.1.mlp.up_proj"):
        export_policy(damaged, tmp_path / "policy")
    make_tiny_model(tmp_path / "nan")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "nan")
    model.model.norm.weight.data[0] = float("nan")
    model.save_pretrained(tmp_path / "nan")
    with pytest.raises(RuntimeError, match="not finite: model.norm.weight"):
        export_policy(tmp_path / "nan", tmp_path / "policy")
    make_tiny_model(tmp_path / "foreign")
    foreign = AutoTokenizer.from_pretrained(tmp_path / "foreign")
    foreign.add_tokens(["<think>"])
    foreign.save_pretrained(tmp_path / "foreign")
    with pytest.raises(RuntimeError, match="the model knows those below 259"):
        export_policy(tmp_path / "foreign", tmp_path / "policy")
    assert {path.name for path in tmp_path.iterdir()} == {"there", "damaged", "nan", "foreign"}


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(ModelFolderError, match="no global_step_7; checkpoints are of steps 4, 2"):
        export_policy(run, tmp_path / "policy", step=7)
    result = CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(tmp_path / "policy")])
    assert result.exit_code == 1 and "no weights there" in " ".join(result.output.split())


def test_the_command_says_which_step(run, tmp_path):
    result = CliRunner().invoke(app, ["export", str(run), "--out", str(tmp_path / "policy")], env={"COLUMNS": "200"})
    assert result.exit_code == 0, (result.output, result.exception)
    assert "myrun/global_step_4, step 4" in result.output and "float32" in result.output
