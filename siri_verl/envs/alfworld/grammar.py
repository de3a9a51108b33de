# SPDX-License-Identifier: Apache-2.0
"""A game's grammar parsed once for all games: they differ in one sentence, the task."""

from __future__ import annotations

import json

from textworld.envs.pddl.logic import GameLogic
from textworld.envs.pddl.textgen import ContextSensitiveGrammar, ProductionRule

from siri_verl.envs.alfworld.tasks import OPENING, TASK_RULE
from siri_verl.envs.alfworld.templates import parse_symbols, parsing
from siri_verl.envs.alfworld.translation import Memo

_BLANK = f'"{OPENING} UNKNOWN GOAL."'
_stock_logic = GameLogic


def _parse(domain: str, grammar: str) -> GameLogic:
    with parsing:
        return _stock_logic(domain, grammar)


_shared = Memo(_parse, size=16)


def _with_task(domain: str, grammar: str) -> GameLogic:
    found = TASK_RULE.findall(grammar)
    if len(found) != 1:
        return _shared(domain, grammar)
    shared = _shared(domain, TASK_RULE.sub(lambda match: match[1] + _BLANK, grammar))
    (rule,) = shared.grammar._rules["task"]
    logic = object.__new__(GameLogic)
    logic.__dict__.update(shared.__dict__)
    logic.grammar = ContextSensitiveGrammar()
    logic.grammar._rules.update(shared.grammar._rules)
    sentence = parse_symbols(json.loads(found[0][1]))
    logic.grammar._rules["task"] = [ProductionRule("task", sentence, rule.weight, rule.condition)]
    return logic


_logics = Memo(_with_task, size=4096)


def game_logic(domain: str, grammar: str) -> GameLogic:
    """`GameLogic(domain, grammar)`, shared by all environments of the process."""
    return _logics(domain, grammar)
