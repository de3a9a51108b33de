# SPDX-License-Identifier: Apache-2.0
"""The state of a PDDL game as stock textworld's, its start looked up instead of computed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import textworld.logic
from fast_downward import Atom, Operator
from textworld.envs.pddl.logic import GameLogic, PddlState
from textworld.logic import Action, Placeholder, Variable
from textworld.utils import check_flag

from siri_verl.envs.alfworld.planner import Place, planning
from siri_verl.envs.alfworld.translation import Memo, Translation

translations = Memo(lambda domain, problem: Translation(domain, problem, check_flag("TW_PDDL_DEBUG")), size=64)
"""(domain, problem) -> Translation."""


class FastState(PddlState):
    """A state of a game. Its tables are copies of the initial state's; the planner's library gets the task when it is
    first asked."""

    def __init__(self, downward_lib: Any, pddl_problem: str, logic: GameLogic):
        # Not PddlState's own, which translates; nor is there a need for a library of one's own.
        self._logic, self.pddl_problem = logic, pddl_problem
        self.translation: Translation = translations(logic.domain, pddl_problem)
        self._place = Place(self.translation)
        self.task, self.name2type = self.translation.task, self.translation.name2type
        self._actions = {action.name: action for action in self.task.actions}
        for kind in self.task.types:
            try:
                self._logic.types.add(textworld.logic.Type(kind.name, kind.supertype_names))
            except ValueError:  # known from an earlier state
                pass
        if self.translation.start is None:
            self._facts, self._vars_by_name = defaultdict(set), {}
            self._vars_by_type, self._var_counts = defaultdict(set), Counter()
            self.add_facts(self.translation.init)
            self.add_facts(fact for fact in self._atoms_of_library() if not fact.is_negation)
            self.translation.start = self._tables()
        self._facts, self._vars_by_name, self._vars_by_type, self._var_counts = self.translation.start
        self._facts, self._vars_by_name, self._vars_by_type, self._var_counts = self._tables()

    @property
    def sas(self) -> str:
        """The task in the library's format."""
        return self.translation.sas.decode("utf-8")

    @property
    def sas_replan(self) -> str:
        """The task in the form the planner searches."""
        return self.translation.sas_replan.decode("utf-8")

    def _tables(self) -> tuple[Any, ...]:
        facts = defaultdict(set, {signature: set(found) for signature, found in self._facts.items()})
        by_type = defaultdict(set, {kind: set(found) for kind, found in self._vars_by_type.items()})
        return facts, dict(self._vars_by_name), by_type, Counter(self._var_counts)

    @property
    def downward_lib(self) -> Any:
        """The planner's library at this state; for other threads too, so hold `planning` until the answer is read."""
        return self._place.library()

    def _atoms_of_library(self) -> list[Any]:
        with planning:
            library = self._place.library()
            atoms = (Atom * library.get_state_size())()
            library.get_state(atoms)
        return [self.translation.fact(atom._name) for atom in atoms]

    def applicable_operators(self) -> list[int]:
        """Ids of the operators that can be applied, one for each name, in the library's order."""
        with planning:
            library = self._place.library()
            operators = (Operator * library.get_applicable_operators_count())()
            library.get_applicable_operators(operators)
        known, chosen = self.translation.operators, {}
        for operator in operators:
            number = operator.id
            if number not in known:
                action, *arguments = operator.name.split()
                known[number] = (operator.name, action, arguments, operator.nb_effect_atoms)
            chosen.setdefault(known[number][0], number)
        return list(chosen.values())

    def action_of(self, number: int) -> Action:
        """An operator as textworld's action."""
        _, name, arguments, _ = self.translation.operators[number]
        action = Action(name=name, preconditions=[], postconditions=[])
        action.id = number
        action.mapping = {
            Placeholder(parameter.name.strip("?"), parameter.type_name): Variable(argument, parameter.type_name)
            for parameter, argument in zip(self._actions[name].parameters, arguments, strict=False)
        }
        action.command_template = self._logic.actions[name].template
        action.feedback_rule = self._logic.actions[name].feedback_rule
        return action

    def all_applicable_actions(self) -> list[Action]:
        return [self.action_of(number) for number in self.applicable_operators()]

    def apply(self, action: Action) -> list[Any]:
        effects = (Atom * self.translation.operators[action.id][3])()
        with planning:
            self._place.apply(action.id, effects)
        changes = [self.translation.fact(effect._name) for effect in effects]
        for change in changes:
            self.remove_fact(change.negate())
            self.add_fact(change)
        return changes

    def check_goal(self) -> bool:
        with planning:
            return self._place.library().check_goal()

    def replan(self, infos: Mapping[str, Any]) -> list[str]:
        with planning:
            self._place.library().load_sas_replan(self.translation.sas_replan)
            return super().replan(infos)
