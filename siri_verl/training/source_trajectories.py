# SPDX-License-Identifier: Apache-2.0
"""The trajectories of a step as material for mining."""

from __future__ import annotations

from collections.abc import Mapping

from siri_verl.skills.pool import SourceTrajectory
from siri_verl.training.step_table import StepTable


def source_trajectories(
    table: StepTable, task_types: Mapping[str, str], answers: Mapping[str, tuple[str, ...]], step: int
) -> dict[SourceTrajectory, float]:
    """Every usable trajectory of a step with its native score.

    Args:
        table: the rows of the step, in canonical order.
        task_types: task id -> type; trajectories of other tasks are left out.
        answers: task id -> what solving it comes down to, where the environment states it.
        step: the training step.
    """
    sources = {}
    for i in table.last_rows():
        task_id, name = str(table.task_id[i]), str(table.trajectory[i])
        if not table.usable[i] or task_id not in task_types:
            continue
        task, turns = table.transcripts[name]
        # Row keys hold random ids; a name made of step, task and session is the same in every run.
        session = name.rsplit("_", 1)[1]
        source = SourceTrajectory(
            task_id=task_id,
            task=task,
            task_type=task_types[task_id],
            trajectory=f"{step}/{task_id}/{session}",
            step=step,
            turns=tuple((str(o), str(a)) for o, a in turns),
            success=bool(table.success[i]),
            arm=str(table.arm[i]),
            answers=answers.get(task_id, ()),
        )
        sources[source] = float(table.score[i])
    return sources
