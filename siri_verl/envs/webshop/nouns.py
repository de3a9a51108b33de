# SPDX-License-Identifier: Apache-2.0
"""Nouns of product titles, which decide whether a purchase is of the right type.

The original runs spaCy's en_core_web_sm on every purchase. Here titles are tagged once, when a catalogue is prepared:
by that model if it is installed, else by the rules below. Which one it was is kept as the store's `type_backend` and
in every score.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

SPACY_MODEL = "en_core_web_sm"
BACKENDS = ("spacy", "rules")

# Titles are noun phrases: what is neither a function word, a number, nor an adjective, adverb or participle by its
# form is a noun.
_CLOSED = frozenset(
    """a an and are as at be but by for from if in into is it its no not of off on onto or our over per so than that
    the their them then these this those to under up via was we will with within without you your all any both each
    every more most other some such only own same too very can may must should has have had do does did i he she they
    my his her out about above after again against before below between down during further here once there through
    until while when where which who whom why how also just even ever never always us""".split()
)
_ADJECTIVES = frozenset(
    """adjustable big black blue bright brown casual cheap clean clear cold comfortable compact cool cute dark deep
    delicious dry durable easy elegant extra fast fine firm flat fresh full funny fuzzy good gray great green grey
    happy hard healthy heavy high hot huge ideal indoor large light little long loose low medium mild mini modern multi
    narrow natural new nice novel old orange organic outdoor perfect pink plain portable premium pretty pure purple
    quick quiet rare raw real red rich round sexy sharp short simple slim small smart smooth soft solid special strong
    super sweet tall thick thin tight tiny transparent unique universal vintage warm waterproof wet white whole wide
    wild wireless yellow young""".split()
)
_VERBS = frozenset(
    """add apply bring buy choose come enjoy fit fits find get give go help helps keep let look make makes put
    wear""".split()
)
_ADJECTIVE_ENDINGS = re.compile(r"(?:able|ible|ful|less|ous|ish|ive|proof|free|friendly|ical)$")
_NOUNS_ANYWAY = frozenset(  # nouns that look like adverbs, participles or adjectives
    """jelly family belly fly supply assembly butterfly lily bed seed reed weed feed sled shed table cable vegetable
    stable dish fish polish radish varnish starfish goldfish olive drive chive archive adhesive additive crucible
    mouthful handful""".split()
)
_WORD = re.compile(r"[^\W\d_](?:[^\W_]|['\u2019](?=[^\W_]))*")


def rule_nouns(title: str) -> list[str]:
    """Nouns of a title, lower case, in order, repeated ones repeated."""
    nouns = []
    for match in _WORD.finditer(title):
        word = re.sub(r"['\u2019]s$", "", match.group().lower())
        if len(word) < 2 or word in _CLOSED or word in _ADJECTIVES or word in _VERBS:
            continue
        if word in _NOUNS_ANYWAY:
            nouns.append(word)
            continue
        if word.endswith("ly") or (word.endswith("ed") and len(word) > 4):
            continue
        if len(word) > 4 and _ADJECTIVE_ENDINGS.search(word):
            continue
        nouns.append(word)
    return nouns


@lru_cache(maxsize=1)
def available_backend() -> str:
    """ "spacy" if spaCy and its model are installed, else "rules"."""
    installed = importlib.util.find_spec("spacy") is not None and importlib.util.find_spec(SPACY_MODEL) is not None
    return "spacy" if installed else "rules"


def tag_titles(titles: Iterable[str], backend: str | None = None) -> Iterator[list[str]]:
    """The nouns of each title, in order.

    Args:
        backend: "spacy", "rules", or None for the best one installed.

    Raises:
        ValueError: an unknown backend, or "spacy" without spaCy's model.
    """
    return _tagger(backend or available_backend())(titles)


@lru_cache(maxsize=4096)
def nouns_of(title: str) -> tuple[str, ...]:
    """The nouns of one title by `available_backend()`."""
    return tuple(next(tag_titles([title])))


@lru_cache(maxsize=2)
def _tagger(backend: str) -> Callable[[Iterable[str]], Iterator[list[str]]]:
    if backend == "rules":
        return lambda titles: map(rule_nouns, titles)
    if backend != "spacy":
        raise ValueError(f"type_backend={backend!r}: known are {', '.join(BACKENDS)}.")
    if available_backend() != "spacy":
        raise ValueError(f"type_backend='spacy': install spacy and its model {SPACY_MODEL}, or use 'rules'.")
    import spacy

    model = spacy.load(SPACY_MODEL, exclude=["ner", "lemmatizer", "parser"])

    def tag(titles: Iterable[str]) -> Iterator[list[str]]:
        for document in model.pipe(titles, batch_size=256):
            yield [token.text.lower() for token in document if token.pos_ in ("NOUN", "PROPN")]

    return tag
