# SPDX-License-Identifier: Apache-2.0
"""Starts every task of a panel once, so that those that cannot be started are left out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from siri_verl.envs.base import RAISED
from siri_verl.envs.panels import Panel, PanelError
from siri_verl.envs.registry import make_environment


def without_failing_tasks(panel: Panel, seed: int = 0) -> tuple[Panel, dict[str, str]]:
    """The panel's tasks that the environment can start.

    Args:
        panel: the tasks.
        seed: of every reset.

    Returns:
        (the panel without the others, task id -> why it cannot be started).

    Raises:
        PanelError: none can be started.
    """
    failed: dict[str, str] = {}
    env = make_environment(panel.environment, **panel.env_kwargs)
    try:
        for task_id in panel.task_ids:
            try:
                env.reset(seed=seed, options={"task_id": task_id})
            except RAISED as error:
                failed[task_id] = f"{type(error).__name__}: {error}"
                # An environment that raised is not used again.
                with suppress(*RAISED):
                    env.close()
                env = make_environment(panel.environment, **panel.env_kwargs)
    finally:
        env.close()
    left = tuple(task_id for task_id in panel.task_ids if task_id not in failed)
    if not left:
        task_id, reason = next(iter(failed.items()))
        raise PanelError(
            f"panel of {panel.environment!r}: none of its {len(panel.task_ids)} tasks can be started ({task_id}: "
            f"{reason}); check the settings of the environment (--set), {dict(panel.env_kwargs)}"
        )
    return replace(panel, task_ids=left), failed
