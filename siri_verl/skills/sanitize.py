# SPDX-License-Identifier: Apache-2.0
"""Neutralises text from a model before it enters a prompt.

A skill was sampled from a model and may contain any text. Before it enters the bank, its control tokens of chat
templates, its format tags and its invisible characters are neutralised and counted. It is only ever concatenated, never
formatted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_GENERIC = re.compile(
    r"""
    <\|[^<>\n]{0,80}?\|?>                                  # <|im_start|>, <|eot_id|>, <|endoftext|>
    | <\s*/?\s*(?:think|action|tool_call|tool_response|tools?|s|bos|eos|pad|unk|mask|sys|user|assistant|system|human|
        start_of_turn|end_of_turn|begin_of_text|end_of_text|fim_\w{1,20}|reserved_\w{1,40}|unused\d{1,5}|image|audio|
        video)\s*/?\s*>
    | <<\s*/?\s*SYS\s*>>
    | \[\s*/?\s*(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT|PAD|UNK|CLS|SEP|MASK|BOS|EOS)\s*\]
    | \uff5c | \u2581                                      # the bars and the underscore of some templates
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ROLE_LINE = re.compile(r"^\s*(?:system|user|assistant|human)\s*:", re.IGNORECASE)
MAX_PASSES = 20


class UnsafeTextError(ValueError):
    """A text still contains a control token after the last pass; it cannot enter a prompt."""


@dataclass(frozen=True)
class CleanText:
    """A neutralised text on one line, and how many tokens, tags and invisible characters were taken out of it."""

    text: str
    neutralised: int


def neutralise(text: str, special_tokens: Sequence[str] = ()) -> CleanText:
    """Take control tokens, format tags and invisible characters out of a text, and put it on one line.

    A control token is replaced by a space. Passes repeat until none is left, since removing one can join the halves
    of another.

    Args:
        text: what a model wrote.
        special_tokens: the tokenizer's own special tokens (`tokenizer.all_special_tokens`), matched literally beside
            the known forms of chat templates.

    Raises:
        UnsafeTextError: a control token is left after the last pass.
    """
    count = 0
    literals = [token for token in special_tokens if token.strip()]
    for _ in range(MAX_PASSES):
        before = text
        text, hits = _visible(text)
        count += hits
        for token in literals:
            count += text.count(token)
            text = text.replace(token, " ")
        text, hits = _GENERIC.subn(" ", text)
        count += hits
        text, hits = _ROLE_LINE.subn(" ", text)
        count += hits
        text = " ".join(text.split())
        if text == before:
            return CleanText(text, count)
    raise UnsafeTextError(f"a control token is left after {MAX_PASSES} passes; the text starts with {text[:40]!r}")


def _visible(text: str) -> tuple[str, int]:
    """A text in normal form and on one line, without invisible characters, and how many there were.

    One line first: the patterns take time in the square of the blanks that follow a bracket.
    """
    visible, count = [], 0
    for character in unicodedata.normalize("NFKC", text):
        # Cc control, Cf format (zero width, direction), Co private, Cs surrogate, Cn unassigned.
        if unicodedata.category(character).startswith("C") and not character.isspace():
            count += 1
        else:
            visible.append(character)
    return " ".join("".join(visible).split()), count
