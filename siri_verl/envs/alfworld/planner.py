# SPDX-License-Identifier: Apache-2.0
"""Which games the planner's library holds: one instance for each game, shared by all environments that play it.

An instance takes several megabytes for its copy of the code and a full-size room, and finds its way between states by
number; so sixteen sessions of one game need one. When the instances of a process exceed `BUDGET`, one is given to
another game, and the environments whose game it held come back to their states by repeating their operators.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

from siri_verl.envs.alfworld.planner_library import give_back_library, take_library
from siri_verl.envs.alfworld.translation import Translation

BUDGET = 100_000_000
"""Bytes that the instances of a process may take, as `_cost` estimates them; one is always allowed."""
STATES_PER_LOAD = 20_000
"""The library remembers every state it has seen; loading the task again makes it forget."""

planning = threading.RLock()
"""Held from the choice of a state until the library's answer about it is read."""


class Loaded:
    """A task in an instance of the library, from one loading to the next.

    Attributes:
        library: the instance.
        start: number of the initial state.
        applied: operators applied so far.
    """

    def __init__(self, library: Any, translation: Translation):
        self.library, self.translation, self.applied = library, translation, 0
        library.load_sas(translation.sas)
        self.start: int = library.get_state_id()


class Place:
    """A state of a game: the operators that lead there, and its number in the library that holds the game now."""

    def __init__(self, translation: Translation):
        self.translation = translation
        self.path: list[int] = []
        self._loaded: Loaded | None = None
        self._number = 0

    def library(self) -> Any:
        """The library at this state. Hold `planning` until the answer is read."""
        loaded = _load(self.translation)
        if loaded is self._loaded:
            loaded.library.set_state_id(self._number)
        else:
            loaded.library.set_state_id(loaded.start)
            self._apply(loaded, self.path, None)
        return loaded.library

    def apply(self, operator: int, effects: Any) -> None:
        """Apply an operator; `effects` receives the atoms it changes."""
        self.library()
        assert self._loaded is not None
        self.path.append(operator)
        self._apply(self._loaded, [operator], effects)

    def _apply(self, loaded: Loaded, operators: Sequence[int], effects: Any) -> None:
        for operator in operators:
            loaded.library.apply_operator(operator, effects)
        loaded.applied += len(operators)
        self._loaded, self._number = loaded, loaded.library.get_state_id()


class LazyLibrary:
    """Replaces the library that stock textworld loads for each environment; loads one at the first access."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if "_own" not in self.__dict__:
            self._own = take_library()
        return getattr(self._own, name)


_loaded: dict[int, Loaded] = {}
_rng = random.Random(0)


def _cost(translation: Translation) -> int:
    return 1_000_000 + 3 * translation.sas_size  # measured: code and tables


def _load(translation: Translation) -> Loaded:
    """The game in a library, loaded now if it is in none."""
    with planning:
        loaded = _loaded.get(id(translation))
        if loaded is None:
            # At random, because sessions take turns in a circle: the one used longest ago is the next that is wanted.
            while _loaded and sum(_cost(held.translation) for held in _loaded.values()) + _cost(translation) > BUDGET:
                give_back_library(_loaded.pop(_rng.choice(list(_loaded))).library)
            loaded = _loaded[id(translation)] = Loaded(take_library(), translation)
        elif loaded.applied >= STATES_PER_LOAD:
            loaded = _loaded[id(translation)] = Loaded(loaded.library, translation)
        return loaded
