# SPDX-License-Identifier: Apache-2.0
"""One shopper's way through the shop: from the search page to Buy Now."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from siri_verl.envs.base import EpisodeOverError
from siri_verl.envs.webshop.pages import (
    BACK,
    BUY,
    NEXT,
    PREVIOUS,
    RENDERERS,
    SEARCH_HITS,
    SUB_PAGES,
    TEXT_MODES,
    Page,
    ProductLike,
    admissible_actions,
    clickables,
    label_of,
    plain_label,
)

ANCHORS = ("state", "observation")
_ACTION = re.compile(r"\s*(search|click)\[(.*)\]", re.DOTALL)


class CatalogLike(Protocol):
    """What a session needs of a catalogue (`siri_verl.envs.webshop.Catalog`)."""

    def search(self, query: str, k: int = SEARCH_HITS) -> list[str]: ...

    def __getitem__(self, asin: str) -> ProductLike: ...


def parse_action(action: str) -> tuple[str, str] | None:
    """`search[...]` or `click[...]` -> (verb, lower-cased argument), None for anything else or an empty argument."""
    match = _ACTION.match(action.lower())
    argument = label_of(match.group(2)) if match else ""
    return (match.group(1), argument) if match and argument else None


class Session:
    """The pages one shopper sees.

    Args:
        catalog: search and products; shared between sessions, never written to.
        task: the instruction.
        score: called at Buy Now with (product, chosen options {name: value}); returns the native score in [0, 1].
        text: one of `TEXT_MODES`.
        anchor: "state" (page, product, chosen options) or "observation" (the text, as the reference systems do).
        results_per_page: products on a page of results.

    The original's query commands (`<r>`, `<a>`, `<c>`, `<q>`) are ordinary words here: they filtered by fields the
    shopper cannot see.
    """

    def __init__(
        self,
        catalog: CatalogLike,
        task: str,
        score: Callable[[ProductLike, dict[str, str]], float],
        *,
        text: str = "rich",
        anchor: str = "state",
        results_per_page: int = 10,
    ):
        check_settings(text, anchor, results_per_page)
        self._catalog, self._task, self._score = catalog, task, score
        self._render, self._anchor = RENDERERS[text], anchor
        self._per_page = results_per_page
        self._label = plain_label if text == "compact" else label_of
        self._show(Page("search", per_page=results_per_page))

    @property
    def page(self) -> Page:
        """The current page."""
        return self._page

    @property
    def observation(self) -> str:
        """The current page as text."""
        return self._text

    @property
    def admissible_actions(self) -> list[str]:
        """The actions offered on the current page; a new list at every call."""
        return admissible_actions(self._page, self._labels)

    @property
    def anchor(self) -> str:
        """The key of the current state."""
        return self._page.key if self._anchor == "state" else self._text

    @property
    def done(self) -> bool:
        """Whether something was bought."""
        return self._page.kind == "done"

    def act(self, action: str) -> bool:
        """Search or click. Returns whether it did something; if not, the page stays as it is.

        Raises:
            EpisodeOverError: something was bought already.
        """
        if self.done:
            raise EpisodeOverError("webshop: the session ended with a purchase; start a new one")
        parsed = parse_action(action)
        if parsed is None:
            return False
        verb, argument = parsed
        if verb == "search":
            hits = tuple(self._catalog.search(argument, k=SEARCH_HITS))
            self._show(Page("results", query=argument, hits=hits, per_page=self._per_page))
            return True
        argument = self._label(argument)
        target = self._labels.get(argument)
        if target is None:
            return False
        self._show(self._follow(*target, argument))
        return True

    def _follow(self, what: str, payload: str, label: str) -> Page:
        page = self._page
        if what == "product":
            return replace(page, kind="item", asin=payload, options=())
        if what == "option":
            chosen = dict(page.options)
            chosen[payload] = self._value(payload, label)
            return replace(page, options=tuple(chosen.items()))
        if payload == BACK:
            return Page("search", per_page=self._per_page)
        if payload == NEXT:
            return replace(page, number=page.number + 1)
        if payload == BUY:
            product = self._catalog[page.asin]
            return replace(page, kind="done", score=float(self._score(product, dict(page.options))))
        if payload in SUB_PAGES:
            return replace(page, kind=payload)
        assert payload == PREVIOUS, payload
        if page.kind in SUB_PAGES:
            return replace(page, kind="item")
        if page.kind == "item":
            return replace(page, kind="results", asin=None, options=())
        return replace(page, number=page.number - 1)

    def _value(self, name: str, label: str) -> str:
        return next(v for v in self._catalog[self._page.asin].options[name] if self._label(v) == label)

    def _show(self, page: Page) -> None:
        self._page = page
        product = self._catalog[page.asin] if page.asin is not None and page.kind == "item" else None
        self._labels = clickables(page, product, self._label)
        self._text = self._render(page, self._task, self._catalog.__getitem__)


def check_settings(text: Any, anchor: Any, results_per_page: Any) -> None:
    """Raise ValueError naming the setting, what it is and what it may be."""
    if text not in TEXT_MODES:
        raise ValueError(f"text: got {text!r}; known text modes: {', '.join(TEXT_MODES)}")
    if anchor not in ANCHORS:
        raise ValueError(f"anchor: got {anchor!r}; known: {', '.join(ANCHORS)}")
    if not isinstance(results_per_page, int) or isinstance(results_per_page, bool) or results_per_page < 1:
        raise ValueError(f"results_per_page: got {results_per_page!r}; it must be an integer of at least 1")
