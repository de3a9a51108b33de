# SPDX-License-Identifier: Apache-2.0
"""What a demo says of itself, so that rows can be made and models looked at in one way for all demos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from siri_verl.trajectory.prompts import PromptTemplate, TurnView


@dataclass(frozen=True)
class Demo:
    """A demo: procedures, the words for them, and how a turn is shown.

    Attributes:
        prior: procedure -> how often a plain episode shows it, in every category alike: sets how rare a success is at
            the start.
        strategies: procedure -> ways to say it.
        conditions: ways to say when a skill applies, with the place {category}.
        categories: category of a task (department, task type) -> how a condition names it.
        category_of: task text -> category, None if the text names none.
        advise: (procedure, turn) -> (think text, action). It sees what the prompt shows and nothing else, and the think
            text states facts of the turn, the same for every procedure.
        strays: turn -> actions that an episode may stray to; empty where it may not.
        kept: prompt -> share of such acting rows that is kept: what is soon learned is thinned out, whatever is done
            there.
        observed: (task text, observations, actions) -> the procedure a trajectory shows, None if it shows none.
        idle: the action that a procedure repeats once it is through, None if episodes end then.
        template: of the prompts.
        history_length: earlier actions a prompt shows.
    """

    prior: Mapping[str, float]
    strategies: Mapping[str, Sequence[str]]
    conditions: Sequence[str]
    categories: Mapping[str, str]
    category_of: Callable[[str], str | None]
    advise: Callable[[str, TurnView], tuple[str, str]]
    strays: Callable[[TurnView], Sequence[str]]
    kept: Callable[[str], float]
    observed: Callable[[str, Sequence[str], Sequence[str]], str | None]
    template: PromptTemplate
    history_length: int
    idle: str | None = None

    def condition(self, category: str, way: str) -> str:
        """One of `conditions` for a category."""
        return way.format(category=self.categories[category])

    def named_procedure(self, strategy: str) -> str | None:
        """The procedure a strategy's words name, None if they are no known phrase."""
        return next((name for name, phrases in self.strategies.items() if strategy in phrases), None)
