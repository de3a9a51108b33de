# SPDX-License-Identifier: Apache-2.0
"""Deriving texts from textworld's context-sensitive grammar, with every template parsed once.

Stock textworld parses a template anew, and copies its whole context deeply, whenever it is used: for each admissible
command of each step. Here parsed templates and queries are kept for the life of the process and never written to; a
context is a small object that shares everything with its parent but the variables a query binds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import CodeType
from typing import Any

from textworld.envs.pddl import textgen
from textworld.envs.pddl.textgen import (
    ConditionalSymbol,
    ContextSensitiveGrammar,
    CSGUnknownSymbolError,
    EvalSymbol,
    ListSymbol,
    NonterminalSymbol,
    Symbol,
    TerminalSymbol,
)
from textworld.logic import Placeholder, Rule, Variable

# textworld's parsers are objects shared by the whole process that keep their place in the text.
parsing = threading.RLock()
_stock_parse = textgen._parse_and_convert


@lru_cache(maxsize=16384)
def parse_symbols(text: str, rule_name: str = "symbols") -> list[Symbol]:
    """`textgen._parse_and_convert` with a cache. All callers share the symbols and must not change them."""
    with parsing:
        return _stock_parse(text, rule_name=rule_name)


@lru_cache(maxsize=4096)
def parse_query(condition: str) -> Rule:
    """`Rule.parse_conjunctive_query`, answering from memory."""
    with parsing:
        return Rule.parse_conjunctive_query(condition)


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> CodeType:
    # As stock's eval, which strips what stands before the expression.
    return compile(expression.strip(), "<textworld grammar>", "eval")


@dataclass(frozen=True)
class Context:
    """What a template may speak of.

    Attributes:
        state: the state whose facts conditions and lists ask about.
        variables: placeholder name -> entity.
        mapping: placeholder -> variable of the state.
        entity_infos: variable name -> entity.
    """

    state: Any
    variables: Mapping[str, Any]
    mapping: Mapping[Placeholder, Variable]
    entity_infos: Mapping[str, Any]

    def assignments(self, condition: str) -> Iterator[Mapping[Placeholder, Variable]]:
        """Ways to bind a condition's free placeholders so that it holds."""
        return self.state.all_assignments(parse_query(condition), self.mapping)

    def bound(self, condition: str) -> list[Context]:
        """One context for each way."""
        return [
            replace(
                self,
                variables={**self.variables, **{ph.name: self.entity_infos[v.name] for ph, v in assignment.items()}},
                mapping={**self.mapping, **assignment},
            )
            for assignment in self.assignments(condition)
        ]


def derive(grammar: ContextSensitiveGrammar, template: str, context: Context) -> str:
    """The text of a template, as `ContextSensitiveGrammar.derive` gives it.

    Raises:
        CSGUnknownSymbolError: the grammar has no rule for a symbol.
    """
    out: list[str] = []
    _emit_all(grammar, parse_symbols(template), context, out)
    return "".join(out)


def _emit_all(grammar: ContextSensitiveGrammar, symbols: Sequence[Symbol], context: Context, out: list[str]) -> None:
    for symbol in symbols:
        _emit(grammar, symbol, context, out)


def _emit(grammar: ContextSensitiveGrammar, symbol: Symbol, context: Context, out: list[str]) -> None:
    if isinstance(symbol, TerminalSymbol):
        out.append(str(symbol))
    elif isinstance(symbol, EvalSymbol):
        value = eval(_compiled(symbol.expression), vars(textgen), dict(context.variables))
        out.append(str(value))
    elif isinstance(symbol, ConditionalSymbol):
        for inner in _contexts(symbol, context):
            _emit(grammar, symbol.expression, inner, out)
    elif isinstance(symbol, ListSymbol):
        _emit_list(grammar, symbol.symbol, context, out)
    elif isinstance(symbol, NonterminalSymbol):
        _emit_all(grammar, _expansion(grammar, symbol, context), context, out)
    else:
        raise NotImplementedError(f"textworld grammar: unknown symbol {type(symbol).__name__}")


def _contexts(symbol: ConditionalSymbol, context: Context) -> list[Context]:
    return context.bound(symbol.given) if symbol.given else [context]


def _emit_list(grammar: ContextSensitiveGrammar, symbol: ConditionalSymbol, context: Context, out: list[str]) -> None:
    """The symbol once for each of its contexts: nothing, "a", "a, and b", "a, b, and c" in the grammar's words."""
    contexts = _contexts(symbol, context)
    if not contexts:
        _emit(grammar, NonterminalSymbol("list_empty"), context, out)
    for number, inner in enumerate(contexts):
        if number:
            name = "list_last_separator" if number == len(contexts) - 1 else "list_separator"
            _emit(grammar, NonterminalSymbol(name), context, out)
        _emit(grammar, symbol.expression, inner, out)


def _expansion(grammar: ContextSensitiveGrammar, symbol: NonterminalSymbol, context: Context) -> Sequence[Symbol]:
    rules = grammar._rules.get(str(symbol))
    if not rules:
        raise CSGUnknownSymbolError(symbol)
    for rule in rules:
        if not rule.condition or next(iter(context.assignments(rule.condition)), None) is not None:
            return rule.rhs
    raise IndexError(f"textworld grammar: no rule for #{symbol}# applies")


def queries(template: str) -> set[str] | None:
    """The conditions a template's text depends on; None if it expands other symbols, whose conditions are not looked
    at."""
    found: set[str] = set()
    for symbol in parse_symbols(template):
        if isinstance(symbol, ListSymbol):
            symbol = symbol.symbol
        if isinstance(symbol, ConditionalSymbol):
            if isinstance(symbol.expression, NonterminalSymbol):
                return None
            found.add(symbol.given or "")
        elif isinstance(symbol, NonterminalSymbol):
            return None
    return found - {""}
