# SPDX-License-Identifier: Apache-2.0
"""Divide a panel into two disjoint ones: tasks to train on and tasks held out."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from siri_verl.envs.panels import Panel, PanelError


def divide(panel: Panel, share: float, seed: int) -> tuple[Panel, Panel]:
    """Two disjoint panels. A hash of seed and task id decides, so a task stays on its side when tasks are added.

    Args:
        panel: the tasks.
        share: of the second panel, about; between 0 and 1.
        seed: of the division.

    Returns:
        (the rest, held out); `split` gains "/rest" and "/holdout".

    Raises:
        PanelError: the share is not between 0 and 1, or a side is empty.
    """
    if not 0 < share < 1:
        raise PanelError(f"holdout: the share is {share}; use a number between 0 and 1")
    sides: tuple[list[str], list[str]] = [], []
    for task_id in panel.task_ids:
        digest = hashlib.sha256(f"holdout:{seed}:{task_id}".encode()).digest()
        sides[int.from_bytes(digest[:8], "big") < share * 2**64].append(task_id)
    rest, held_out = map(tuple, sides)
    if not rest or not held_out:
        raise PanelError(
            f"holdout: a share of {share} of {len(panel.task_ids)} tasks leaves one side empty with seed {seed}; "
            "use another share or seed, or more tasks"
        )
    return (
        replace(panel, task_ids=rest, split=f"{panel.split}/rest"),
        replace(panel, task_ids=held_out, split=f"{panel.split}/holdout"),
    )
