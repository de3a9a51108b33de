# SPDX-License-Identifier: Apache-2.0
"""The tasks of an evaluation: which panel is played, in which environment, and of which types its tasks are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from siri_verl.core.seeding import derive_seed
from siri_verl.envs.base import RAISED
from siri_verl.envs.panels import Panel, make_panel
from siri_verl.evaluation.options import EvalOptions, EvaluationError
from siri_verl.runs.saved import SavedRun
from siri_verl.trajectory.failed_tasks import FailedTasks


def choose_panel(options: EvalOptions, run: SavedRun | None) -> Panel:
    """The tasks, with all settings of the environment: those of the run, the panel and the options, the last first.

    Raises:
        PanelError, UnknownEnvironmentError, UnknownSplitError: the panel is missing or malformed.
        EvaluationError: options and run name no tasks, or the run trained on some of them.
    """
    panel = _named_panel(options, run)
    kwargs = {**panel.env_kwargs, **options.env_kwargs}
    if run is not None and run.settings.environment.name == panel.environment:
        kwargs = {**run.settings.environment.kwargs, **kwargs}
        if not options.training_tasks:
            _check_untrained(panel, run)
    if options.max_turns is not None and "max_turns" in kwargs and "max_turns" not in options.env_kwargs:
        # The environment's own limit is that of the evaluation.
        kwargs["max_turns"] = options.max_turns
    return Panel(panel.environment, panel.task_ids, kwargs, panel.split)


def _check_untrained(panel: Panel, run: SavedRun) -> None:
    both = sorted(run.training_tasks().intersection(panel.task_ids))
    if both:
        raise EvaluationError(
            f"panel: {both[0]} and {len(both) - 1} more of its {len(panel.task_ids)} tasks were trained on; give "
            "another panel, or --training-tasks to use them anyway"
        )


def _named_panel(options: EvalOptions, run: SavedRun | None) -> Panel:
    """The panel file, else a split of an environment, else the run's validation panel."""
    environment = None if run is None else run.settings.environment
    if options.panel is None:
        name = options.environment or (environment.name if environment and options.split else None)
        if name is not None:
            kwargs = {**(environment.kwargs if environment and environment.name == name else {}), **options.env_kwargs}
            return make_panel(name, kwargs, options.split, options.size, options.panel_seed)
        if run is None:
            raise EvaluationError(
                "no tasks: give --panel FILE, or --env NAME with --split, or a run with a validation panel"
            )
    panel = run.validation_panel() if options.panel is None else Panel.read(options.panel)
    if options.panel is not None and options.environment not in (None, panel.environment):
        raise EvaluationError(f"{options.panel}: tasks of {panel.environment}, not of {options.environment}")
    return panel if options.size is None else panel.subset(options.size, options.panel_seed)


def task_types(
    env: Any, task_ids: Sequence[str], typer: Callable[[str], str], seed: int, failed: FailedTasks
) -> dict[str, str]:
    """Task id -> task type, read from the text each task shows after a reset. The environment is closed.

    Args:
        env: the environment.
        task_ids: the tasks.
        typer: task text -> task type.
        seed: of the evaluation.
        failed: counts tasks that cannot be started; they are absent from the answer.

    Raises:
        FailedTasksError: these are too many.
    """
    types = {}
    for task_id in task_ids:
        try:
            _, info = env.reset(seed=derive_seed(seed, "retest", "type", task_id), options={"task_id": task_id})
            types[task_id] = typer(str(info["task"]))
        except RAISED as error:
            failed.failed(task_id, error)
        else:
            failed.tried(task_id)
    env.close()
    failed.check()
    return types
