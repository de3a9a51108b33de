# SPDX-License-Identifier: Apache-2.0
"""The admissible commands of a state, each command's text derived once where it cannot change."""

from __future__ import annotations

from typing import Any

from textworld.envs.pddl import PddlEnv
from textworld.logic import Action

from siri_verl.envs.alfworld.fast_state import FastState
from siri_verl.envs.alfworld.templates import Context, derive, parse_query, queries
from siri_verl.envs.alfworld.translation import Translation

Kept = dict[int, tuple[Action, str]]
"""Operator id -> (action, command), for one game and one way of naming its entities."""


def kept_commands(env: PddlEnv) -> Kept:
    """What is known of the commands of an environment's game; environments of one game share it."""
    state = env._pddl_state
    if env.__dict__.get("siri_kept_for") is not state:  # names change between episodes at most
        names = tuple((key, info.name, info.definite, info.indefinite) for key, info in env._entity_infos.items())
        env.siri_kept = state.translation.commands.setdefault((env._logic, names), {})
        env.siri_kept_for = state
    return env.siri_kept


def command(env: PddlEnv, number: int, kept: Kept) -> tuple[Action, str]:
    """An operator of the current state as (action, command)."""
    if number in kept:
        return kept[number]
    state, infos = env._pddl_state, env._entity_infos
    action = state.action_of(number)
    template = action.command_template
    variables = {placeholder.name: infos[variable.name] for placeholder, variable in action.mapping.items()}
    context = Context(state, variables, action.mapping, infos)
    action.command_template = derive(env._logic.grammar, template, context)
    found = (action, action.format_command({key: info.name for key, info in infos.items()}))
    if constant(template, state.translation):
        kept[number] = found
    return found


def constant(template: str, translation: Translation) -> bool:
    """Whether a command's text is the same in all states: its template asks about nothing that an action changes."""
    conditions = queries(template)
    if conditions is None:
        return False
    predicates = {predicate.name for condition in conditions for predicate in parse_query(condition).preconditions}
    return not {name.removeprefix("not_") for name in predicates} & translation.changing


def gather_infos(env: PddlEnv) -> None:
    """What `PddlEnv._gather_infos` writes into the state that a player gets."""
    pddl, state, wanted = env._pddl_state, env.state, env.request_infos
    assert isinstance(pddl, FastState)
    state["command_templates"] = sorted({action.template for action in env._logic.actions.values()})
    state["won"], state["lost"] = pddl.check_goal(), False
    state["_entity_infos"], state["_facts"] = dict(env._entity_infos), list(pddl.facts)
    if wanted.facts:
        state["facts"] = [env._get_human_readable_fact(fact) for fact in state["_facts"]]
    state["last_action"], state["_last_action"] = None, env._last_action
    kept = kept_commands(env)
    found: list[tuple[Action, str]] = [command(env, number, kept) for number in pddl.applicable_operators()]
    state["_valid_actions"] = [action for action, _ in found]
    state["_valid_commands"] = [text for _, text in found]
    state["admissible_commands"] = sorted(set(state["_valid_commands"]))
    if wanted.moves:
        state["moves"] = env._moves
    if wanted.policy_commands:
        state["policy_commands"] = pddl.replan(env._entity_infos)


def context_of(given: dict[str, Any]) -> Context:
    """Stock textworld's context as ours."""
    return Context(given["state"], given["variables"], given["mapping"], given["entity_infos"])
