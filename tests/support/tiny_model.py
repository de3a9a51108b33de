# SPDX-License-Identifier: Apache-2.0
"""A random Qwen2 with a byte tokenizer, made on the spot: for tests and for trying out a configuration.

Any text can be written in it, nothing sensible comes out.
"""

from __future__ import annotations

from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>")


def make_tokenizer():
    """One token per byte, and the three special tokens; 259 in all. The end token is <|im_end|>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = list(SPECIAL_TOKENS) + sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    pad, _, end = SPECIAL_TOKENS
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, eos_token=end)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_tiny_model(
    folder: str | Path,
    *,
    hidden_size: int = 64,
    layers: int = 2,
    context: int = 1024,
    seed: int = 0,
    extra_vocab: int = 0,
    tie: bool = True,
) -> Path:
    """Write a model folder.

    Args:
        folder: where to; made if absent.
        hidden_size: a multiple of 32; heads are of size 32 or less.
        layers: number of decoder layers.
        context: largest number of tokens.
        seed: of the random weights.
        extra_vocab: rows of padding at the end of the vocabulary, which no token uses.
        tie: whether the output layer shares the embedding's weights.

    Returns:
        the folder.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = make_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer) + extra_vocab,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=tie,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
        with torch.no_grad():
            # the usual initialisation gives an almost uniform policy; a wider one gives tests something to tell apart
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.mul_(3.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def write_toy_inputs(folder: Path) -> Path:
    """Write a random model and the toy environment's train and validation panels; returns the folder."""
    from siri_verl.envs.panels import make_panel, write_dataset

    make_tiny_model(folder / "model")
    for split in ("train", "validation"):
        write_dataset(make_panel("toy", {}, split), folder / f"{split}.parquet")
    return folder
