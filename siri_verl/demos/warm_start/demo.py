# SPDX-License-Identifier: Apache-2.0
"""The interface of a demo: rows are made and models are evaluated in the same way for all demos."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

from siri_verl.skills.mining_prompt import COMPACT_MINING, FULL_MINING, MiningTemplate
from siri_verl.trajectory.prompts import FULL, PromptTemplate
from siri_verl.trajectory.turn import TurnView

Self = TypeVar("Self", bound="Demo")


class Demo(ABC):
    """A demo: procedures, their wordings, and how a turn is shown."""

    prior: Mapping[str, float]
    """Procedure -> how often a plain episode shows it, in every category alike: sets how rare a success is at the
    start."""
    strategies: Mapping[str, Sequence[str]]
    """Procedure -> phrases for it."""
    conditions: Sequence[str]
    """Phrases for when a skill applies, with the place {category}."""
    categories: Mapping[str, str]
    """Category of a task (department, task type) -> how a condition names it."""
    template: PromptTemplate
    """Of the prompts."""
    mining_template: MiningTemplate = COMPACT_MINING
    """Of the requests to describe a trajectory."""
    history_length: int
    """Earlier actions a prompt shows."""
    full_history_length: int
    """Earlier turns that a prompt for instruction-tuned models shows."""
    idle: str | None = None
    """The action that a procedure repeats once it is through; None if episodes end then."""

    def with_full_prompts(self: Self) -> Self:
        """The same demo with the prompts of instruction-tuned models."""
        demo = copy.copy(self)
        demo.template, demo.mining_template = FULL, FULL_MINING
        demo.history_length = self.full_history_length
        return demo

    @abstractmethod
    def category_of(self, task: str) -> str | None:
        """The category a task text names; None if it names none."""

    @abstractmethod
    def advise(self, procedure: str, view: TurnView) -> tuple[str, str]:
        """The think text and the action of a procedure.

        It reads what the prompt shows and nothing else. The think text states facts of the turn, the same for every
        procedure.
        """

    @abstractmethod
    def strays(self, view: TurnView) -> Sequence[str]:
        """Actions that an episode may stray to in this turn; empty where it may not."""

    @abstractmethod
    def kept(self, prompt: str) -> float:
        """Share of the acting rows with such a prompt that is kept. Rows that are soon learned are thinned out,
        whatever is done there."""

    @abstractmethod
    def observed(self, task: str, observations: Sequence[str], actions: Sequence[str]) -> str | None:
        """The procedure a trajectory shows; None if it shows none."""

    def condition(self, category: str, way: str) -> str:
        """One of `conditions` for a category."""
        return way.format(category=self.categories[category])

    def named_procedure(self, strategy: str) -> str | None:
        """The procedure a strategy's words name, None if they are no known phrase."""
        return next((name for name, phrases in self.strategies.items() if strategy in phrases), None)
