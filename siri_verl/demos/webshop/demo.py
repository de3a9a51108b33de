# SPDX-License-Identifier: Apache-2.0
"""The demo shop as `siri_verl.demos.warm_start` sees it.

Nothing here reads `layouts.py`, which decides which procedure wins in which department.
"""

from __future__ import annotations

from collections.abc import Sequence

from siri_verl.demos.warm_start.demo import Demo
from siri_verl.demos.webshop.phrases import CONDITIONS, STRATEGIES
from siri_verl.demos.webshop.procedures import PROCEDURES, facts, observed_procedure
from siri_verl.demos.webshop.settings import FULL_HISTORY_LENGTH, HISTORY_LENGTH
from siri_verl.demos.webshop.views import read_page, read_task
from siri_verl.demos.webshop.words import DEPARTMENTS, department_of
from siri_verl.trajectory.prompts import COMPACT
from siri_verl.trajectory.turn import TurnView

PRIOR: dict[str, float] = {
    "choose_options": 0.42,
    "buy_at_once": 0.18,
    "take_cheapest": 0.15,
    "check_features": 0.13,
    "second_page": 0.06,
    "precise_query": 0.06,
}

KEPT = {"search page": 0.4, "item": 0.5}
"""How a page begins -> share of its rows that is kept; 1 for others."""


class WebShopDemo(Demo):
    """The demo shop; a category is a department."""

    prior = PRIOR
    strategies = STRATEGIES
    conditions = CONDITIONS
    categories = {department: department for department in DEPARTMENTS}
    template = COMPACT
    history_length = HISTORY_LENGTH
    full_history_length = FULL_HISTORY_LENGTH

    def category_of(self, task: str) -> str | None:
        return department_of(task)

    def advise(self, procedure: str, view: TurnView) -> tuple[str, str]:
        task, page = read_task(view.task), read_page(view.observation)
        return facts(task, page), PROCEDURES[procedure](task, page, [action for _, action in view.history])

    def strays(self, view: TurnView) -> Sequence[str]:
        if read_page(view.observation).kind == "search":
            return ()
        return [action for action in view.admissible_actions if action != "click[buy now]"]

    def kept(self, prompt: str) -> float:
        _, label, page = prompt.rpartition("page: ")
        if not label:
            return 1.0  # full prompts: their rows are few
        return next((share for start, share in KEPT.items() if page.startswith(start)), 1.0)

    def observed(self, task: str, observations: Sequence[str], actions: Sequence[str]) -> str | None:
        return observed_procedure(actions, [read_page(o) for o in observations])


DEMO = WebShopDemo()
