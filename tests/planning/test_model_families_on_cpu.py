# SPDX-License-Identifier: Apache-2.0
"""Sizes of other decoder families, and the reason why other kinds of models are refused."""

import pytest
from transformers import (
    BertConfig,
    DeepseekV3Config,
    FalconConfig,
    Gemma3Config,
    GPT2Config,
    OPTConfig,
    T5Config,
)

from siri_verl.failures import ConfigError
from siri_verl.planning.architecture import from_folder

SMALL = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=100)


@pytest.mark.parametrize(
    "config, intermediate, kv_values",
    [
        (GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=100), 256, 2 * 2 * 64),
        (GPT2Config(n_embd=64, n_layer=2, n_head=4, n_inner=96, vocab_size=100), 96, 2 * 2 * 64),
        (OPTConfig(**SMALL, ffn_dim=96, word_embed_proj_dim=64), 96, 2 * 2 * 64),
        (FalconConfig(**SMALL), 256, 2 * 2 * 16),
        (FalconConfig(**SMALL, new_decoder_architecture=True, num_kv_heads=2), 256, 2 * 2 * 2 * 16),
        (
            DeepseekV3Config(
                **SMALL, intermediate_size=96, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=8, v_head_dim=8,
                q_lora_rank=8, moe_intermediate_size=16, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
                topk_group=1,
            ),
            96,
            2 * (8 + 4),
        ),
    ],
)  # fmt: skip
def test_other_decoders_are_counted(tmp_path, config, intermediate, kv_values):
    config.save_pretrained(tmp_path)
    found = from_folder(tmp_path)
    assert (found.hidden, found.layers, found.heads, found.vocab) == (64, 2, 4, 100)
    assert (found.intermediate, found.kv_values) == (intermediate, kv_values)
    assert found.parameters > 0


@pytest.mark.parametrize(
    "config, reason",
    [
        (BertConfig(**SMALL, intermediate_size=64), "of type bert, which is an encoder, which does not generate text"),
        (T5Config(d_model=64, num_layers=2), "of type t5, which has an encoder beside its decoder"),
        (Gemma3Config(), "of type gemma3, which reads images or sound beside text; use a model of text alone"),
    ],
)
def test_other_kinds_of_models_are_refused_with_the_reason(tmp_path, config, reason):
    config.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=reason):
        from_folder(tmp_path)
