# SPDX-License-Identifier: Apache-2.0
"""The shop's pages: what is on them, what can be done, and how they read as text.

Three text modes:

* `original`: the strings of the original text environment joined by " [SEP] ", instruction included, for parity.
  The item page reads the same before and after choosing an option.
* `rich` (default): the same strings without the instruction, which the prompt states anyway, and with chosen options
  marked.
* `compact`: for very small models: lower case, few words, the chosen options on a line of their own.

"Next >" stands only where there is a next page. One deviation from the original in every mode: the last page does not
spell out the goal, which the original hides there in invisible elements that its text mode shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

TEXT_MODES = ("original", "rich", "compact")
SUB_PAGES = ("description", "features", "reviews")
SEARCH_HITS = 50
"""Hits per query; with 10 products a page these are the original's five pages."""

BACK, PREVIOUS, NEXT, BUY = "back to search", "< prev", "next >", "buy now"
SEARCH_FORM = "search[<your query>]"


def label_of(text: str) -> str:
    """What is clicked for a text on a page: lower case, white space collapsed."""
    return " ".join(text.lower().split())


class ProductLike(Protocol):
    """What a page needs to know of a product (`siri_verl.envs.webshop.Product`)."""

    asin: str
    title: str
    description: str
    bullet_points: tuple[str, ...]
    price_tag: str
    price: float
    options: dict[str, list[str]]


@dataclass(frozen=True)
class Page:
    """One page of a session.

    Attributes:
        kind: "search", "results", "item", one of `SUB_PAGES`, or "done".
        query: the words last searched for, "" on the search page.
        hits: asins of all hits in rank order.
        number: 1-based page of results, also the one an item was opened from.
        per_page: products on a page of results.
        asin: the opened product, None on search and results.
        options: chosen (name, value) pairs in the order of choosing.
        score: the native score, only on "done".
    """

    kind: str
    query: str = ""
    hits: tuple[str, ...] = ()
    number: int = 1
    per_page: int = 10
    asin: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    score: float | None = None

    @property
    def page_count(self) -> int:
        """Pages of results, at least 1."""
        return max(1, -(-len(self.hits) // self.per_page))

    @property
    def shown(self) -> tuple[str, ...]:
        """Asins on this page of results."""
        return self.hits[(self.number - 1) * self.per_page : self.number * self.per_page]

    @property
    def key(self) -> str:
        """The state in words: page, query or product, chosen options sorted by name."""
        if self.kind == "results":
            return f"results|{self.query}|{self.number}"
        if self.asin is None:
            return self.kind
        chosen = ";".join(f"{name}={value}" for name, value in sorted(self.options))
        return f"{self.kind}|{self.asin}|{chosen}"


def clickables(
    page: Page, product: ProductLike | None, label_of: Callable[[str], str] = label_of
) -> dict[str, tuple[str, str]]:
    """What can be clicked: lower-cased label -> (what it is, its argument), buttons first, then products, then options.

    What it is: "button", "product" (asin) or "option" (its name). A value offered under two option names belongs to the
    last, as in the original; a button's label always means the button, so that no option text can make a page unusable.
    `label_of` writes the label of an option value: compact pages have `plain_label`.
    """
    if page.kind in ("search", "done"):
        return {}
    labels = {BACK: ("button", BACK)}
    if page.kind == "results":
        if page.number > 1:
            labels[PREVIOUS] = ("button", PREVIOUS)
        if page.number < page.page_count:
            labels[NEXT] = ("button", NEXT)
        for asin in page.shown:
            labels.setdefault(asin.lower(), ("product", asin))
        return labels
    labels[PREVIOUS] = ("button", PREVIOUS)
    if page.kind == "item":
        for label in (*SUB_PAGES, BUY):
            labels[label] = ("button", label)
        for name, values in product.options.items() if product else ():
            for value in values:
                label = label_of(value)
                if label and (label not in labels or labels[label][0] == "option"):
                    labels[label] = ("option", name)
    return labels


def admissible_actions(page: Page, labels: Mapping[str, object]) -> list[str]:
    """The actions offered on a page. Searching works on every page but is offered, as in the original, on the first."""
    if page.kind == "search":
        return [SEARCH_FORM]
    return [f"click[{label}]" for label in labels]


def _sub_page_parts(page: Page, product: ProductLike) -> list[str]:
    if page.kind == "description":
        return [product.description.strip()] if product.description.strip() else ["No Description"]
    if page.kind == "features":
        return [bullet.strip() for bullet in product.bullet_points if bullet.strip()] or ["No Features"]
    return ["No reviews found"]


def _parts(page: Page, lookup: Callable[[str], ProductLike], mark: Callable[[str, str], str]) -> list[str]:
    """The visible strings of a page after the instruction; `mark(name, value)` writes an option value."""
    if page.kind == "results":
        parts = ["Back to Search", f"Page {page.number} (Total results: {len(page.hits)})"]
        if page.number > 1:
            parts.append("< Prev")
        if page.number < page.page_count:
            parts.append("Next >")
        for asin in page.shown:
            product = lookup(asin)
            parts += [asin, product.title.strip(), product.price_tag]
        return parts
    product = lookup(page.asin)
    parts = ["Back to Search", "< Prev"]
    if page.kind == "item":
        for name, values in product.options.items():
            parts.append(name)
            parts += [mark(name, value) for value in values]
        parts += [product.title.strip(), f"Price: {product.price_tag}", "Rating: N.A."]
        return parts + ["Description", "Features", "Reviews", "Buy Now"]
    return parts + _sub_page_parts(page, product)


def _done(page: Page) -> list[str]:
    parts = ["Thank you for shopping with us!", "Your code:", "None", "(Paste it in your MTurk interface.)"]
    return parts + ["Your score (min 0.0, max 1.0)", str(page.score)]


def original_text(page: Page, task: str, lookup: Callable[[str], ProductLike]) -> str:
    """The page as the original text environment writes it."""
    header = ["Instruction:", task]
    if page.kind == "search":
        return " [SEP] ".join(["WebShop", *header, "Search"])
    if page.kind == "done":
        return " [SEP] ".join(_done(page))
    return " [SEP] ".join(header + _parts(page, lookup, lambda name, value: value))


def rich_text(page: Page, task: str, lookup: Callable[[str], ProductLike]) -> str:
    """The original's strings without the instruction; chosen option values are followed by "(chosen)"."""
    if page.kind == "search":
        return "WebShop [SEP] Search"
    if page.kind == "done":
        return " [SEP] ".join(_done(page))
    chosen = dict(page.options)
    return " [SEP] ".join(
        _parts(page, lookup, lambda name, value: f"{value} (chosen)" if chosen.get(name) == value else value)
    )


def plain_label(text: str) -> str:
    """`label_of` without bars, which stand between the choices of compact pages: the option "8/9", which the original
    makes "8 | 9", reads "8 / 9" there."""
    return label_of(text.replace("|", "/"))


def compact_text(page: Page, task: str, lookup: Callable[[str], ProductLike]) -> str:
    """Short lines for very small models: choices are parted by bars."""
    if page.kind == "search":
        return "search page"
    if page.kind == "done":
        return f"bought score {page.score}"
    if page.kind == "results":
        lines = [f"results {page.number} of {page.page_count}"]
        for asin in page.shown:
            product = lookup(asin)
            lines.append(f"{plain_label(product.price_tag)} {asin.lower()} {plain_label(product.title)}")
        buttons = [PREVIOUS] * (page.number > 1) + [NEXT] * (page.number < page.page_count) + [BACK]
        return "\n".join([*lines, " | ".join(buttons)])
    product = lookup(page.asin)
    if page.kind == "item":
        lines = [f"item {plain_label(product.price_tag)} {plain_label(product.title)}"]
        for name, values in product.options.items():
            lines.append(f"{plain_label(name)} : " + " | ".join(map(plain_label, values)))
        lines.append("chosen : " + (" | ".join(plain_label(value) for _, value in page.options) or "none"))
        return "\n".join([*lines, " | ".join([*SUB_PAGES, BUY, PREVIOUS, BACK])])
    body = " | ".join(plain_label(part) for part in _sub_page_parts(page, product))
    return f"{page.kind} : {body}\n{PREVIOUS} | {BACK}"


RENDERERS: dict[str, Callable[[Page, str, Callable[[str], ProductLike]], str]] = {
    "original": original_text,
    "rich": rich_text,
    "compact": compact_text,
}
