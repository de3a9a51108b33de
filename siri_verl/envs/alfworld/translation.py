# SPDX-License-Identifier: Apache-2.0
"""PDDL translated once: what `fast_downward.pddl2sas` makes of a game, kept for the next reset.

Stock textworld translates a game four times for an episode: for loading and for resetting, each time also in a form
for the planner that most runs never ask.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fast_downward
from textworld.logic import Proposition, Variable

_stock_pddl2sas = fast_downward.pddl2sas
_translating = threading.RLock()
_ATOM = re.compile(r"(?P<kind>\w+) (?P<name>[^(]+)\((?P<arguments>.*)\)", re.DOTALL)


@contextmanager
def translator() -> Iterator[None]:
    """Only one thread may translate: the translator keeps options in globals and overwrites sys.argv and sys.stdout."""
    with _translating:
        arguments = sys.argv
        try:
            yield
        finally:
            sys.argv = arguments


def pddl2sas(domain: str, problem: str, verbose: bool = False, optimize: bool = False) -> tuple[Any, str]:
    """`fast_downward.pddl2sas`, one thread at a time, and sys.argv is restored afterwards."""
    with translator():
        return _stock_pddl2sas(domain, problem, verbose=verbose, optimize=optimize)


class Translation:
    """A game's translation and what states read from it. Shared by all environments of the process, never changed.

    Attributes:
        task: the planner's parsed task.
        name2type: object -> type.
        init: facts stated by the problem, as textworld's propositions.
        changing: names of predicates that some action or axiom changes.
        sas_size: bytes of the task in the library's format.
        operators: operator id -> (name, action name, arguments, number of effects), filled as operators are met.
        facts: atom as the library names it -> proposition, filled as atoms are met.
        start: the initial state's tables, once a state has read them.
        commands: ways of naming the game's entities -> commands by operator id (`commands.py`).
    """

    def __init__(self, domain: str, problem: str, verbose: bool = False):
        self._source = (domain, problem)
        self.task, sas = pddl2sas(domain, problem, verbose=verbose)
        self._sas, self.sas_size = zlib.compress(sas.encode("utf-8"), 1), len(sas)
        self._sas_replan: bytes | None = None
        self.name2type: dict[str, str] = {thing.name: thing.type_name for thing in self.task.objects}
        self.init = [fact for fact in map(self._stated, self.task.init) if fact is not None]
        self.changing = {effect.literal.predicate for action in self.task.actions for effect in action.effects}
        self.changing |= {axiom.name for axiom in self.task.axioms}
        self.operators: dict[int, tuple[str, str, list[str], int]] = {}
        self.facts: dict[bytes, Proposition] = {}
        self.start: Any = None
        self.commands: dict[Any, dict[int, Any]] = {}

    @property
    def sas(self) -> bytes:
        """The task in the library's format; kept packed, a tenth of its one or two megabytes."""
        return zlib.decompress(self._sas)

    @property
    def sas_replan(self) -> bytes:
        """The task in the form the planner searches; translated when first asked for."""
        if self._sas_replan is None:
            self._sas_replan = pddl2sas(*self._source, optimize=True)[1].encode("utf-8")
        return self._sas_replan

    def _stated(self, atom: Any) -> Proposition | None:
        """A statement of the problem as a proposition; equalities, costs and distances are none."""
        if isinstance(atom, fast_downward.translate.pddl.conditions.Atom):
            return None if atom.predicate == "=" else self._proposition(atom.predicate, atom.args)
        if isinstance(atom, fast_downward.translate.pddl.f_expression.Assign):
            value = str(atom.expression.value)
            if atom.fluent.symbol != "total-cost" and not value.isdigit():
                return self._proposition(value, atom.fluent.args)
        return None

    def _proposition(self, name: str, arguments: Any) -> Proposition:
        return Proposition(name, [Variable(argument, self.name2type[argument]) for argument in arguments])

    def fact(self, atom: bytes) -> Proposition:
        """The proposition of an atom of the library: `Atom at(agent, loc)`, `NegatedAtom at(agent, loc)`."""
        known = self.facts.get(atom)
        if known is None:
            match = _ATOM.fullmatch(atom.decode("cp1252"))
            if match is None:
                raise ValueError(f"planner: cannot read the atom {atom!r}")
            name = match["name"] if match["kind"] != "NegatedAtom" else f"not_{match['name']}"
            arguments = [argument for argument in match["arguments"].split(", ") if argument]
            # textworld writes the player and the inventory in capitals
            variables = [Variable(a.upper() if a in ("i", "p") else a, self.name2type[a]) for a in arguments]
            known = self.facts[atom] = Proposition(name, variables)
        return known


class Memo:
    """The last `size` values made by `make`, by a hash of their arguments."""

    def __init__(self, make: Callable[..., Any], size: int):
        self._make, self.size = make, size
        self._values: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.RLock()

    def __call__(self, *texts: str) -> Any:
        key = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            if key not in self._values:
                self._values[key] = self._make(*texts)
            self._values.move_to_end(key)
            while len(self._values) > self.size:
                self._values.popitem(last=False)
            return self._values[key]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
