# SPDX-License-Identifier: Apache-2.0
"""The demo shop's word-level tokenizer and its tiny model.

The vocabulary is enumerated from the demo's own words. Button names, prices, and the three parts of an asin are one
token each. Nothing stands between brackets and their content.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import decoders
from transformers import PreTrainedTokenizerFast

from siri_verl.demos.warm_start import model
from siri_verl.demos.warm_start.model import ModelSize, collect_words, label_pattern, word_tokenizer
from siri_verl.demos.webshop import phrases, words
from siri_verl.envs.webshop.pages import BACK, BUY, NEXT, PREVIOUS, SUB_PAGES

LABELS = ("task:", "turn:", "did:", "page:", "skill:", "condition:", "strategy:")
_VERBS = ("search[", "click[")
_BUTTONS = (BACK, BUY, NEXT, PREVIOUS)
_PATTERN = "|".join(
    [
        r"(?:search|click)\[",
        *map(re.escape, _BUTTONS),
        label_pattern(LABELS),
        r"b0[a-z]\b",
        r"-[a-z][0-9]\b",
        r"\$?[0-9]+\.[0-9]+",
        r"->",
        r"[a-z]+|[0-9]+|[^\sa-z0-9]",
    ]
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
    return collect_words(texts, _PATTERN, (*LABELS, *_VERBS, *_BUTTONS))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The demo's tokenizer, chat template included."""
    closing = [decoders.Replace("[ ", "["), decoders.Replace(" ]", "]"), decoders.Replace(" -", "-")]
    arrow = decoders.Replace("->", " ->")  # it starts with a dash like a part of an asin
    return word_tokenizer(_vocabulary(), _PATTERN, [*closing, arrow])


def make_model(out: Path | str, *, seed: int = 0, size: ModelSize | None = None) -> int:
    """Write an untrained model and its tokenizer as a Hugging Face folder; returns the number of parameters."""
    return model.make_model(out, build_tokenizer(), seed=seed, size=size or ModelSize())
