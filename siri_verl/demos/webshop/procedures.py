# SPDX-License-Identifier: Apache-2.0
"""Six scripted procedures. Each can be followed in every department; which one pays where is not known here.

A procedure maps what the prompt shows (task, page, own actions so far) to an action, on any page: a stray click does
not derail it. `facts` is the think text that every procedure writes alike, whatever it does next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from siri_verl.demos.webshop.views import PageView, TaskView

Procedure = Callable[[TaskView, PageView, Sequence[str]], str]
"""(task, page, own actions so far, oldest first) -> action."""

_BACK = "click[< prev]"
_BUY = "click[buy now]"
_FEATURES = "click[features]"


def _first(page: PageView) -> str:
    return f"click[{page.hits[0][1]}]" if page.hits else "click[back to search]"


def _simple(task: TaskView, page: PageView, actions: Sequence[str]) -> str:
    """Search for the thing, open the first item, buy it."""
    if page.kind == "search":
        return f"search[{task.family}]"
    if page.kind == "results":
        return _first(page)
    return _BUY if page.kind == "item" else _BACK


def buy_at_once(task: TaskView, page: PageView, actions: Sequence[str]) -> str:
    """Search, open the first item, buy."""
    return _simple(task, page, actions)


def choose_options(task: TaskView, page: PageView, actions: Sequence[str]) -> str:
    """Search, open the first item, choose every option the task names, buy."""
    if page.kind == "item":
        for value in page.options:
            if value in task.words and value not in page.chosen:
                return f"click[{value}]"
    return _simple(task, page, actions)


def check_features(task: TaskView, page: PageView, actions: Sequence[str]) -> str:
    """Search, open the first item and its features; if they list what the task asks for buy it, else buy the next."""
    seen = _FEATURES in actions
    if page.kind == "features":
        return _BACK if task.attribute in page.body else f"search[{task.family}]"
    if page.kind == "item" and not seen:
        return _FEATURES
    if page.kind == "results" and seen:
        fresh = [asin for _, asin, _ in page.hits if f"click[{asin}]" not in actions]
        return f"click[{fresh[0]}]" if fresh else _first(page)
    return _simple(task, page, actions)


def take_cheapest(task: TaskView, page: PageView, actions: Sequence[str]) -> str:
    """Search, open the cheapest item of the page, buy."""
    if page.kind == "results" and page.hits:
        return f"click[{min(page.hits)[1]}]"
    return _simple(task, page, actions)


def second_page(task: TaskView, page: PageView, actions: Sequence[str]) -> str:
    """Search, turn to page 2, open its first item, buy."""
    if page.kind == "results" and page.number == 1 and page.pages > 1:
        return "click[next >]"
    return _simple(task, page, actions)


def precise_query(task: TaskView, page: PageView, actions: Sequence[str]) -> str:
    """Search for the thing together with what it must be, open the first item, buy."""
    if page.kind == "search":
        return f"search[{task.family} {task.attribute}]"
    return _simple(task, page, actions)


PROCEDURES: dict[str, Procedure] = {
    f.__name__: f for f in (buy_at_once, choose_options, check_features, take_cheapest, second_page, precise_query)
}


def facts(task: TaskView, page: PageView) -> str:
    """What a page shows that matters to the task, in a few words: the same for every procedure."""
    if page.kind == "search":
        return f"{task.family} , {task.attribute}"
    if page.kind == "results" and page.hits:
        return " ".join(
            f"{name} ${hit[0]} {hit[1]}" for name, hit in (("first", page.hits[0]), ("lowest", min(page.hits)))
        )
    if page.kind == "item":
        return "chosen " + (" , ".join(page.chosen) or "none")
    if page.kind == "features":
        return f"{task.attribute} " + ("listed" if task.attribute in page.body else "missing")
    return "no items" if page.kind == "results" else page.kind


def observed_procedure(actions: Sequence[str], pages: Sequence[PageView]) -> str | None:
    """Name the procedure that a trajectory shows, from its actions and pages alone; None if it shows none.

    Args:
        actions: of every turn.
        pages: the page each action was taken on.
    """
    done = list(zip(pages, actions, strict=True))
    if not actions or actions[-1] != _BUY:
        return None
    if _FEATURES in actions:
        return "check_features"
    if any(page.kind == "results" and action == "click[next >]" for page, action in done):
        return "second_page"
    if any(page.kind == "item" and action[6:-1] in page.options for page, action in done):
        return "choose_options"
    queries = [action for action in actions if action.startswith("search[")]
    if queries and len(queries[0].split()) > 2:
        return "precise_query"
    for page, action in done:
        if page.kind == "results" and page.hits:
            opened = action[6:-1]
            if opened == page.hits[0][1]:
                return "buy_at_once"
            return "take_cheapest" if opened == min(page.hits)[1] else None
    return None
