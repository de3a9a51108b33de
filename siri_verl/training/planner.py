# SPDX-License-Identifier: Apache-2.0
"""Before a step's trajectories start: the type of each task, and the skill that its group is shown.

The driver resets each task once, with the seed that its trajectories will have, to read the task's text (the task type
is derived from what the plain prompt shows) and to check that the skill block fits into the first prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from omegaconf import DictConfig

from siri_verl.envs.base import RAISED
from siri_verl.envs.registry import make_environment
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.skill import Skill
from siri_verl.skills.task_type import task_typer
from siri_verl.training.dataset_tasks import dataset_tasks
from siri_verl.trajectory.prompt_builder import PromptBuilder, PromptTooLongError
from siri_verl.trajectory.seeds import env_seed
from siri_verl.trajectory.turn import TurnView


@dataclass(frozen=True)
class PlannedGroup:
    """One task of a step.

    Attributes:
        task_id: the task.
        task_type: derived from its text.
        skill: shown to the skill arm; None: the whole group is plain.
        skill_missing: id of a skill that did not fit into the first prompt, else ""; the whole group is plain then.
        failed: why the task could not be started, "" where it was; its type is unknown and the group is plain then.
        answers: what solving the task comes down to, where the environment states it; no mined skill may quote them.
    """

    task_id: str
    task_type: str
    skill: Skill | None
    skill_missing: str = ""
    answers: tuple[str, ...] = ()
    failed: str = ""


Choose = Callable[[str, str], Skill | None]
"""(task type, task id) -> the skill to show, or None."""


class Planner(Protocol):
    """Names the task type and the skill of each of a step's tasks."""

    def plan(self, task_ids: Sequence[str], step: int, choose: Choose) -> list[PlannedGroup]:
        """The step's groups, in the order of `task_ids`."""


class DatasetPlanner:
    """Plans groups of a pipeline whose own agent loop plays the dataset's rows (`siri.tasks=dataset`).

    Only that loop knows whether a skill fits into a prompt; it states it as `skill_missing`.

    Args:
        texts: task id -> the task's text.
        typer: task text -> task type.
    """

    def __init__(self, texts: Mapping[str, str], typer: Callable[[str], str]):
        self.texts, self.typer = texts, typer

    def plan(self, task_ids: Sequence[str], step: int, choose: Choose) -> list[PlannedGroup]:
        """Plan a step's groups."""
        types = [self.typer(self.texts[task_id]) for task_id in task_ids]
        return [
            PlannedGroup(task_id, task_type, choose(task_type, task_id))
            for task_id, task_type in zip(task_ids, types, strict=True)
        ]


class GroupPlanner:
    """Plans groups with an environment of its own.

    Args:
        env: the run's environment; only reset, never stepped.
        prompts: renders and measures first prompts.
        typer: task text -> task type.
        seed: the run's seed.
    """

    def __init__(self, env: Any, prompts: PromptBuilder, typer: Callable[[str], str], seed: int):
        self.env, self.prompts, self.typer, self.seed = env, prompts, typer, seed

    def plan(self, task_ids: Sequence[str], step: int, choose: Choose) -> list[PlannedGroup]:
        """Plan a step's groups.

        Args:
            task_ids: the step's tasks.
            step: the training step.
            choose: (task type, task id) -> the skill to show, or None.
        """
        return [self._plan_one(task_id, step, choose) for task_id in task_ids]

    def _plan_one(self, task_id: str, step: int, choose: Choose) -> PlannedGroup:
        seed = env_seed(self.seed, step, task_id)
        try:
            observation, info = self.env.reset(seed=seed, options={"task_id": task_id})
        except RAISED as error:
            return PlannedGroup(task_id, "", None, failed=f"{type(error).__name__}: {error}")
        task_type = self.typer(str(info["task"]))
        answers = tuple(map(str, info.get("answers", ())))
        skill = choose(task_type, task_id)
        if skill is None:
            return PlannedGroup(task_id, task_type, None, answers=answers)
        view = TurnView(
            task=str(info["task"]),
            observation=observation,
            admissible_actions=tuple(info["admissible_actions"]),
            skill_text=skill.block,
        )
        try:
            self.prompts.build(view)
        except PromptTooLongError:
            return PlannedGroup(task_id, task_type, None, skill.skill_id, answers)
        return PlannedGroup(task_id, task_type, skill, answers=answers)


def make_planner(config: DictConfig, settings: SiriSettings, tokenizer: Any) -> Planner:
    """The planner of a run: over the run's environment, or over the dataset's rows."""
    data, typer = config.data, task_typer(settings.task_type)
    if settings.tasks == "dataset":
        return DatasetPlanner(dataset_tasks(config).all, typer)
    prompts = PromptBuilder(
        tokenizer, settings.prompt, data.max_prompt_length, data.get("apply_chat_template_kwargs", {})
    )
    env = make_environment(settings.environment.name, **settings.environment.kwargs)
    return GroupPlanner(env, prompts, typer, settings.seed)
