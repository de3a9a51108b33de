# SPDX-License-Identifier: Apache-2.0
"""How people put a condition and a procedure into words: the same phrases for every department and every outcome."""

from __future__ import annotations

CONDITIONS: tuple[str, ...] = (
    "shopping for the {category}",
    "the task is about the {category}",
    "something for the {category} is wanted",
    "the {category} is named",
)

STRATEGIES: dict[str, tuple[str, ...]] = {
    "buy_at_once": (
        "open the first item and buy it at once",
        "buy the first item without delay",
        "take the first item of the list , then buy now",
        "search , open the top item , buy it right away",
        "do not look around , just buy the top item",
    ),
    "choose_options": (
        "choose every option the task names , then buy",
        "open the first item and pick each option that is named",
        "pick the named color and size before you buy",
        "select all options of the task on the first item , then buy now",
        "set color and size as named , then buy it",
    ),
    "check_features": (
        "look at the features of the first item before you decide",
        "open features first , take the next item if they do not fit",
        "check the features page , then go back and decide",
        "read the features , buy it if they fit , else the next item",
        "buy nothing before its features are read",
    ),
    "take_cheapest": (
        "take the cheapest item of the page and buy it",
        "compare the prices and open the lowest",
        "buy the item with the lowest price",
        "open the cheapest of the list , then buy now",
        "look for the lowest price , then buy that item",
    ),
    "second_page": (
        "turn to the next page and buy its first item",
        "go to page 2 , open the top item there , buy it",
        "skip the first page , the item is on the second",
        "click next , then take the first item",
        "look at the second page before you open an item",
    ),
    "precise_query": (
        "put the wanted quality into the search , then buy the first item",
        "search with every word that matters , open the top item",
        "name what it must be in the query , take the first item",
        "use a longer query with the quality , then buy the top item",
        "add the quality to the search words",
    ),
}
"""Procedure -> ways to say it."""
