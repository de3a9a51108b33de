# SPDX-License-Identifier: Apache-2.0
"""Sizes of models: against transformers' own modules, published counts, and a model on disk."""

import dataclasses

import pytest
import torch
from support.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from siri_verl.failures import ConfigError
from siri_verl.planning.architecture import KNOWN, Architecture, architecture

PUBLISHED = {"1.5B": (1.54e9, 1.31e9), "3B": (3.09e9, 2.77e9), "7B": (7.61e9, 6.53e9)}
"""All and non-embedding parameters as Qwen's model cards round them."""


def modules(known, kind=Qwen2Config, **sizes):
    """transformers' model of these sizes, without storage."""
    config = kind(
        vocab_size=known.vocab,
        hidden_size=known.hidden,
        intermediate_size=known.intermediate,
        num_hidden_layers=known.layers,
        num_attention_heads=known.heads,
        num_key_value_heads=known.kv_heads,
        tie_word_embeddings=known.tied,
        **sizes,
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("size", PUBLISHED)
def test_known_models_have_the_published_and_the_real_number_of_parameters(size):
    known = KNOWN[f"Qwen/Qwen2.5-{size}-Instruct"]
    model = modules(known)
    assert known.parameters == sum(p.numel() for p in model.parameters())
    assert known.layer == sum(p.numel() for p in model.model.layers[0].parameters())
    everything, inside = PUBLISHED[size]
    assert known.parameters == pytest.approx(everything, abs=0.01e9)
    # the cards leave out the input embedding, and the head where it is not tied
    assert known.parameters - known.embedding == pytest.approx(inside, abs=0.01e9)


@pytest.mark.parametrize("size, published", [("0.6B", 0.6e9), ("1.7B", 1.7e9), ("4B", 4.0e9)])
def test_qwen3_has_the_published_and_the_real_number_of_parameters(size, published):
    known = KNOWN[f"Qwen/Qwen3-{size}"]
    model = modules(known, Qwen3Config, head_dim=known.head_dim)
    assert known.parameters == sum(p.numel() for p in model.parameters())
    assert known.layer == sum(p.numel() for p in model.model.layers[0].parameters())
    assert known.parameters == pytest.approx(published, abs=0.05e9)


def test_smollm2_has_134_5_million_parameters():
    known = KNOWN["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert known.parameters == 134_515_008  # counted on the converted model


def test_adapters_are_peft_s():
    from peft import LoraConfig, get_peft_model

    tiny = Architecture("tiny", 50, 16, 24, 2, 4, 2, 4, tied=True, qkv_bias=True)
    config = Qwen2Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    model = get_peft_model(
        AutoModelForCausalLM.from_config(config), LoraConfig(r=3, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    # by hand: q, o (16+16), k, v (16+8), gate, up, down (16+24); two layers, rank 3
    assert tiny.adapters(3) == trained == 2 * 3 * (2 * 32 + 2 * 24 + 3 * 40)


def test_kv_cache_of_qwen2_5_7b_by_hand():
    # keys and values, 28 layers, 4 heads of 128
    assert KNOWN["Qwen/Qwen2.5-7B-Instruct"].kv_values == 2 * 28 * 4 * 128 == 28672


def test_a_folder_is_counted(tmp_path):
    folder = make_tiny_model(tmp_path / "model")
    found = architecture(str(folder))
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert (found.layers, found.hidden) == (model.config.num_hidden_layers, model.config.hidden_size)
    assert found.vocab == model.config.vocab_size and str(folder) in found.source
    # what is left after embeddings and final norm, per layer
    assert found.layer == sum(p.numel() for p in model.model.layers[0].parameters())
    same = dataclasses.replace(found, counted=None, qkv_bias=True)
    assert same.parameters == found.parameters, "the formula agrees with the count"


def test_a_model_of_unknown_size_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(ConfigError) as caught:
        architecture("someone/model")
    text = str(caught.value)
    assert text.startswith("actor_rollout_ref.model.path='someone/model': its sizes are not known")
    assert "config.json" in text and "Qwen/Qwen2.5-7B-Instruct" in text
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ConfigError, match="its config.json does not describe a causal language model"):
        architecture(str(tmp_path))
