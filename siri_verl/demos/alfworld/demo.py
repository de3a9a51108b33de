# SPDX-License-Identifier: Apache-2.0
"""The generated games as `siri_verl.demos.warm_start` sees them.

Nothing here reads `tasks.py` or `games.py`, which decide what a game asks for and what wins it.
"""

from __future__ import annotations

from collections.abc import Sequence

from siri_verl.demos.alfworld.phrases import CATEGORIES, CONDITIONS, STRATEGIES
from siri_verl.demos.alfworld.procedures import IDLE, PROCEDURES, facts, observed_procedure
from siri_verl.demos.alfworld.settings import HISTORY_LENGTH, TEMPLATE
from siri_verl.demos.alfworld.views import read_situation, read_task
from siri_verl.demos.warm_start.demo import Demo
from siri_verl.envs.alfworld.tasks import TASK_TYPE_PATTERNS
from siri_verl.skills.task_type import OTHER, regex_typer
from siri_verl.trajectory.prompts import TEMPLATES
from siri_verl.trajectory.turn import TurnView

PRIOR: dict[str, float] = {
    "light": 0.24,
    "pair": 0.20,
    "rinse": 0.18,
    "stash": 0.12,
    "chill": 0.09,
    "warm": 0.06,
    "inspect": 0.06,
    "carry": 0.05,
}

IDLE_KEPT = 0.1
"""Share of the turns after idling that is kept: what else there is to do is soon learned."""

_type_of = regex_typer(TASK_TYPE_PATTERNS)


class AlfworldDemo(Demo):
    """The generated games; a category is a task type."""

    prior = PRIOR
    strategies = STRATEGIES
    conditions = CONDITIONS
    categories = CATEGORIES
    template = TEMPLATES[TEMPLATE]
    history_length = full_history_length = HISTORY_LENGTH
    idle = IDLE

    def category_of(self, task: str) -> str | None:
        found = _type_of(task)
        return None if found == OTHER else found

    def advise(self, procedure: str, view: TurnView) -> tuple[str, str]:
        situation = read_situation(view.task, view.admissible_actions, [action for _, action in view.history])
        return facts(situation), PROCEDURES[procedure](situation)

    def strays(self, view: TurnView) -> Sequence[str]:
        return view.admissible_actions if view.turn > 1 else ()

    def kept(self, prompt: str) -> float:
        done = next((line for line in prompt.split("\n") if line.startswith("did: ")), "")
        return IDLE_KEPT if done.endswith((f"; {IDLE}", f": {IDLE}")) else 1.0

    def observed(self, task: str, observations: Sequence[str], actions: Sequence[str]) -> str | None:
        return observed_procedure(read_task(task), actions)


DEMO = AlfworldDemo()
