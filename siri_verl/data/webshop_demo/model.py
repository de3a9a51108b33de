# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""A tiny Qwen3 and its word-level tokenizer, made on the spot.

The vocabulary is enumerated from the demo's own words, so it depends on no data and `vocab_size == len(tokenizer)`.
Button names, prices, and the three parts of an asin are one token each. White space is not encoded; decoding restores
it, so that `decode(encode(text)) == text` for text in canonical spacing (one space between tokens, none in brackets).

Qwen3 and not Qwen2 because transformers 5 loads every tokenizer of a Qwen2 model as the byte-level BPE of that family,
whatever the folder's tokenizer.json says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from siri_verl.data.webshop_demo import phrases, words
from siri_verl.envs.webshop.pages import BACK, BUY, NEXT, PREVIOUS, SUB_PAGES

PAD, UNKNOWN, END = "<|pad|>", "<|unk|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
TAGS = ("<think>", "</think>", "<action>", "</action>")
LABELS = ("task:", "turn:", "did:", "page:", "skill:", "condition:", "strategy:")
_VERBS = ("search[", "click[")
_BUTTONS = (BACK, BUY, NEXT, PREVIOUS)
_PATTERN = "|".join(
    [
        r"(?:search|click)\[",
        *map(re.escape, _BUTTONS),
        r"\b(?:" + "|".join(label[:-1] for label in LABELS) + "):",
        r"b0[a-z]\b",
        r"-[a-z][0-9]\b",
        r"\$?[0-9]+\.[0-9]+",
        r"->",
        r"[a-z]+|[0-9]+|[^\sa-z0-9]",
    ]
)
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_PAGE_WORDS = (
    "search page results of item chosen none bought score no items first lowest listed missing found describe when"
)


def _vocabulary() -> list[str]:
    texts = [*phrases.CONDITIONS, *words.INSTRUCTIONS, *words.OPTION_PHRASES, *words.MODIFIERS, *words.BRANDS]
    texts += [*words.STYLES, *words.ATTRIBUTES, *words.COLORS, *words.SIZES, *words.DEPARTMENTS, *SUB_PAGES]
    texts += [noun for nouns in words.NOUNS.values() for noun in nouns]
    texts += [strategy for listed in phrases.STRATEGIES.values() for strategy in listed]
    texts += [
        _PAGE_WORDS,
        "color size quality a piece for the",
        ", and price lower than dollars",
        "-> | : ; , . ? [ ] =",
    ]
    texts += [f"${price}.0" for price in sorted({*words.LOW_PRICES, *words.GOAL_PRICES, *words.HIGH_PRICES})]
    texts += [f"{limit}.00" for limit in range(10, 110, 10)] + [str(n) for n in range(51)]
    texts += [part.lower() for part in (*words.ASIN_ITEMS, *words.ASIN_FAMILIES)]
    fields = re.compile(r"\{[a-z]+\}")
    found = [piece for text in texts for piece in re.findall(_PATTERN, fields.sub(" ", text))]
    return list(dict.fromkeys([PAD, UNKNOWN, END, *ROLES, *TAGS, *LABELS, *_VERBS, *_BUTTONS, *found]))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The demo's tokenizer, chat template included."""
    tokenizer = Tokenizer(models.WordLevel({w: k for k, w in enumerate(_vocabulary())}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True)
    closing = [decoders.Replace("[ ", "["), decoders.Replace(" ]", "]"), decoders.Replace(" -", "-")]
    arrow = decoders.Replace("->", " ->")  # it starts with a dash like a part of an asin
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=False), decoders.Fuse(), *closing, arrow]
    )
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


def make_model(out: Path | str, *, seed: int = 0, size: ModelSize | None = None) -> int:
    """Write an untrained model and its tokenizer as a Hugging Face folder.

    Returns:
        The number of parameters.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    size = size or ModelSize()
    tokenizer = build_tokenizer()
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
