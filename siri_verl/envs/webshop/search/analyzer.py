# SPDX-License-Identifier: Apache-2.0
"""The analysis chain of Lucene's EnglishAnalyzer.

UAX #29 words -> strip possessive 's -> lower case -> drop 33 stop words -> Porter stem. Every step matters for equal
rankings: bm25 libraries that tokenise on `\\w+` or stem with Snowball's English or "porter" rules agree on page 1 for
0-56 % of the queries.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Callable

import regex

from siri_verl.envs.webshop.search.porter import stem

STOP_WORDS = frozenset(
    """a an and are as at be but by for if in into is it no not of on or such that the their then there these they this
    to was will with""".split()
)
MAX_TOKEN_LENGTH = 255
# Extended_Pictographic of Unicode 12.1, which Lucene is built with; the set shrank later (stars and hearts left it)
_PICTOGRAPHS = """
A9 AE 203C 2049 2122 2139 2194-2199 21A9-21AA 231A-231B 2328 2388 23CF 23E9-23F3 23F8-23FA 24C2 25AA-25AB 25B6 25C0
25FB-25FE 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271D 2721 2728 2733-2734 2744 2747 274C 274E
2753-2755 2757 2763-2767 2795-2797 27A1 27B0 27BF 2934-2935 2B05-2B07 2B1B-2B1C 2B50 2B55 3030 303D 3297 3299
1F000-1F0FF 1F10D-1F10F 1F12F 1F16C-1F171 1F17E-1F17F 1F18E 1F191-1F19A 1F1AD-1F1E5 1F201-1F20F 1F21A 1F22F
1F232-1F23A 1F23C-1F23F 1F249-1F3FA 1F400-1F53D 1F546-1F64F 1F680-1F6FF 1F774-1F77F 1F7D5-1F7FF 1F80C-1F80F
1F848-1F84F 1F85A-1F85F 1F888-1F88F 1F8AE-1F8FF 1F90C-1F93A 1F93C-1F945 1F947-1FFFD
"""


def _word_pattern(letter: str, digit: str, extend: str, mid_letter: str, mid_digit: str) -> str:
    """Letters and digits stick together; a joiner counts only between two letters or two digits (WB6-7, WB11-12)."""
    run = rf"(?:{letter}+(?:{mid_letter}{letter}+)*|{digit}+(?:{mid_digit}{digit}+)*)"
    return rf"{extend}*{run}(?:{extend}*{run})*{extend}*"


def _unicode_pattern() -> str:
    # WB4: combining marks, format characters and joiners belong to the character before them
    glue = r"[\p{WB=Format}\p{WB=Extend}\p{WB=ZWJ}]*+"
    emoji_glue = r"[[\p{WB=Format}\p{WB=Extend}\p{WB=ZWJ}]--[\uFE0E\uFE0F]]*+"
    letter, digit = rf"(?:[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}]{glue})", rf"(?:\p{{WB=Numeric}}{glue})"
    extend, katakana = rf"(?:\p{{WB=ExtendNumLet}}{glue})", rf"(?:\p{{WB=Katakana}}{glue})"
    # the colon is named because newer Unicode versions move it out of MidLetter and Lucene keeps it there
    mid_letter = rf"(?:[:\p{{WB=MidLetter}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{glue})"
    mid_digit = rf"(?:[\p{{WB=MidNum}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{glue})"
    ranges = ("-".join(rf"\U{int(end, 16):08x}" for end in item.split("-")) for item in _PICTOGRAPHS.split())
    pictograph = f"[{''.join(ranges)}]"
    # a skin tone belongs to the person before it
    emoji = (
        rf"(?:{pictograph}{emoji_glue}\uFE0F?(?:\p{{Emoji_Modifier}}{emoji_glue})?|\p{{Emoji_Modifier}}{emoji_glue})"
    )
    return "|".join(
        (
            rf"[0-9\#*]{emoji_glue}\uFE0F?\u20E3{emoji_glue}",  # key caps
            _word_pattern(letter, digit, extend, mid_letter, mid_digit),
            rf"{extend}*{katakana}(?:{extend}*{katakana})*{extend}*",
            rf"(?:\p{{WB=Regional_Indicator}}{glue}){{2}}",  # flags
            rf"{emoji}(?:\u200D?(?<=\u200D){emoji})*(?:[\U000E0020-\U000E007E]+\U000E007F)?",
            rf"(?:\p{{Line_Break=Complex_Context}}{glue})+",  # Thai, Lao, Khmer, Myanmar: one run
            rf"[\p{{Script=Han}}\p{{Script=Hiragana}}]{glue}",  # one character each
        )
    )


_ascii_words: Callable[[str], list[str]] = re.compile(
    _word_pattern("[A-Za-z]", "[0-9]", "_", "[:.']", "[,;.']")
).findall


@lru_cache(maxsize=1)
def _unicode_words() -> Callable[[str], list[str]]:
    return regex.compile(_unicode_pattern(), regex.VERSION1).findall


def tokenize(text: str) -> list[str]:
    """The words of `text` by UAX #29, as Lucene's StandardTokenizer cuts them (emoji are words, punctuation is not)."""
    words = _ascii_words(text) if text.isascii() else _unicode_words()(text)
    if any(len(word) > MAX_TOKEN_LENGTH for word in words):
        size = MAX_TOKEN_LENGTH
        words = [word[i : i + size] for word in words for i in range(0, len(word), size)]
    return words


def normalize(word: str) -> str | None:
    """One word's index term, or None for a stop word."""
    if len(word) >= 2 and word[-1] in "sS" and word[-2] in "'\u2019\uff07":
        word = word[:-2]
    word = word.lower()
    return None if word in STOP_WORDS else stem(word)


_cached_normalize = lru_cache(maxsize=1 << 16)(normalize)


def analyze(text: str) -> list[str]:
    """The index terms of `text`, in order, repeated terms repeated."""
    return [term for term in map(_cached_normalize, tokenize(text)) if term is not None]
