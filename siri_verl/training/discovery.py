# SPDX-License-Identifier: Apache-2.0
"""What helps to find skills where success is rare, over a run; every part is a setting that is off by default.

- Sessions of task types with neither success nor skill are sampled at a higher temperature (`siri.exploration`).
- Iterations take fewer optimizer steps until every type with a success was tested (`siri.update.damped_mini_batches`).
- A type without a skill borrows one of another type (`siri.mining.borrow`).
- A skill whose condition names another type's tasks is turned away (`siri.mining.condition_odds`).

`siri_verl.core.discovery` and `siri_verl.skills` hold the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from siri_verl.core.discovery import explores, exploring_sessions, untested
from siri_verl.core.phases import PhaseMachine
from siri_verl.core.rules import ACTIVE, CANDIDATE, INTERNALIZED
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.condition import TypeWords
from siri_verl.training.planner import PlannedGroup
from siri_verl.training.step_table import StepTable


class Discovery:
    """The state of these settings.

    Args:
        settings: the `siri:` block.
        group_size: trajectories per task.

    Attributes:
        since: task type -> the step of its last success, or of its first group.
        words: the words of the tasks met.
    """

    def __init__(self, settings: SiriSettings, group_size: int):
        self.settings, self.group_size = settings, group_size
        self.since: dict[str, int] = {}
        self.words = TypeWords()

    def exploring_sessions(self, groups: Sequence[PlannedGroup], bank: SkillBank, step: int) -> list[int]:
        """(groups,) how many sessions of each group are sampled at `siri.exploration.temperature`."""
        given = self.settings.exploration
        if given.temperature is None:
            return [0] * len(groups)
        sessions = exploring_sessions(self.group_size, given.share)
        counts = []
        for group in groups:
            since = self.since.get(group.task_type, step)
            has_skill = any(bank.of_type(group.task_type, status) for status in (CANDIDATE, ACTIVE, INTERNALIZED))
            counts.append(sessions if explores(step, since, given.patience, has_skill) else 0)
        return counts

    def mini_batches(
        self, step: int, machine: PhaseMachine, task_types: Mapping[str, str], bank: SkillBank
    ) -> int | None:
        """Optimizer steps of an iteration; None: verl's rule.

        Args:
            step: the training step.
            machine: the phase, and the tasks solved on the plain prompt.
            task_types: task id -> type.
            bank: the skills so far.
        """
        given = self.settings.update
        if given.damped_mini_batches is None or step > given.damped_max_steps:
            return given.mini_batches
        decided = {skill.task_type for skill in bank.skills.values() if skill.decisions}
        solved = {task_types[task] for task in machine.solved if task in task_types}
        damped = not machine.pairs_groups or bool(untested(solved, decided))
        return given.damped_mini_batches if damped else given.mini_batches

    def record(self, table: StepTable, task_types: Mapping[str, str], step: int) -> None:
        """Record the successes and the task texts of a step.

        Args:
            table: its rows.
            task_types: task id -> type.
            step: the training step.
        """
        texts: dict[str, str] = {}
        for i in table.last_rows():
            task_id, name = str(table.task_id[i]), str(table.trajectory[i])
            if table.usable[i] and task_id in task_types:
                since = self.since.setdefault(task_types[task_id], step)
                self.since[task_types[task_id]] = step if table.success[i] else since
                texts[task_id] = table.transcripts[name][0]
        if self.settings.mining.condition_odds is not None:
            self.words.add((task_types[task_id], text) for task_id, text in texts.items())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint; only those that a setting asks for."""
        state: dict[str, Any] = {}
        if self.settings.exploration.temperature is not None:
            state["since"] = self.since
        if self.settings.mining.condition_odds is not None:
            state["words"] = self.words.to_dict()
        return state

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned; what a checkpoint without these settings lacks starts anew."""
        self.since = dict(state.get("since", {}))
        if "words" in state:
            self.words = TypeWords.from_dict(state["words"])
