# SPDX-License-Identifier: Apache-2.0
"""A tiny Qwen3 and its word-level tokenizer, made on the spot.

A demo enumerates its vocabulary from its own words, so it depends on no data and `vocab_size == len(tokenizer)`. White
space is not encoded; decoding restores it, so that `decode(encode(text)) == text` for text in canonical spacing (one
space between tokens, unless the demo has another decoder).

Qwen3 and not Qwen2 because transformers 5 loads every tokenizer of a Qwen2 model as the byte-level BPE of that family,
whatever the folder's tokenizer.json contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END = "<|pad|>", "<|unk|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
TAGS = ("<think>", "</think>", "<action>", "</action>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_FIELD = re.compile(r"\{[a-z]+\}")


def label_pattern(labels: Iterable[str]) -> str:
    """A pattern that takes "task:" for one token, wherever it begins a word."""
    return r"\b(?:" + "|".join(re.escape(label[:-1]) for label in labels) + "):"


def collect_words(texts: Iterable[str], pattern: str, first: Iterable[str] = ()) -> list[str]:
    """A vocabulary: the special tokens, `first`, then every piece of `texts` that `pattern` cuts, each once.

    Args:
        texts: a demo's words; "{field}" of a format string stands for nothing.
        pattern: regular expression of one token.
        first: tokens that no text holds.
    """
    found = [piece for text in texts for piece in re.findall(pattern, _FIELD.sub(" ", text.lower()))]
    return list(dict.fromkeys([PAD, UNKNOWN, END, *ROLES, *TAGS, *first, *found]))


def word_tokenizer(
    vocabulary: Sequence[str], pattern: str, closing: Sequence[decoders.Decoder] = ()
) -> PreTrainedTokenizerFast:
    """A word-level tokenizer, chat template included.

    Args:
        vocabulary: see `collect_words`.
        pattern: regular expression of one token; what it does not match is left out.
        closing: decoders that undo spaces after the words were joined by one each.
    """
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(vocabulary)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    joined = [decoders.WordPiece(prefix="##", cleanup=False), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*joined, *closing])
    # ordinary tokens, not special ones: they must survive decoding without special tokens
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        padding_side="left",
    )


EMBEDDING_STD = 0.2


@dataclass(frozen=True)
class ModelSize:
    """Shape of the small model."""

    hidden: int = 96
    intermediate: int = 192
    layers: int = 3
    heads: int = 3


def make_model(out: Path | str, tokenizer: PreTrainedTokenizerFast, *, seed: int = 0, size: ModelSize) -> int:
    """Write an untrained model and its tokenizer as a Hugging Face folder.

    Returns:
        The number of parameters.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        head_dim=size.hidden // size.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.08,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config).to(torch.float32)
        # Far apart from the start, and long compared with Adam's steps: else the common push on rare tokens (the parts
        # of asins) makes them alike before the model has learned to copy them.
        torch.nn.init.normal_(model.model.embed_tokens.weight, std=EMBEDDING_STD)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(p.numel() for p in model.parameters())
