# SPDX-License-Identifier: Apache-2.0
"""Columns of a batch of tasks: which skill a task's skill arm is shown, and how many sessions stay plain.

Beside the worker and not in it, because the trainer writes them: a process that imports the worker first would
otherwise meet itself half loaded, for verl loads the trainer on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

from siri_verl.skills.skill import Skill

SKILL_ID, SKILL_TEXT, PLAIN_SESSIONS = "skill_id", "skill_text", "plain_sessions"
EXPLORED_SESSIONS, TEMPERATURE = "explored_sessions", "explored_temperature"
TEACHER_SKILL_TEXT = "teacher_skill_text"
"""The skill's text, given to the loop of a plain session whose turns are scored under the group's skill."""


def add_columns(batch: TensorDict, skills: Sequence[Skill | None], plain_sessions: int) -> None:
    """Say in a batch of tasks which skill each task's skill arm is shown; None: the group is all plain.

    Args:
        batch: one row per task, about to be dispatched.
        skills: (tasks,) the skill of each.
        plain_sessions: sessions 0 .. plain_sessions - 1 stay plain.
    """
    columns = {
        SKILL_ID: [skill.skill_id if skill else "" for skill in skills],
        SKILL_TEXT: [skill.block if skill else "" for skill in skills],
        PLAIN_SESSIONS: [plain_sessions] * len(skills),
    }
    batch.update(tu.get_tensordict({name: np.array(v, dtype=object) for name, v in columns.items()}))


def add_exploration(batch: TensorDict, sessions: Sequence[int], temperature: float | None) -> None:
    """State in a batch of tasks how many sessions of each are sampled at another temperature; nothing where none is.

    Args:
        batch: one row per task, about to be dispatched.
        sessions: (tasks,) sessions 0 .. sessions - 1 are.
        temperature: the other temperature.
    """
    if not any(sessions):
        return
    columns = {EXPLORED_SESSIONS: list(sessions), TEMPERATURE: [temperature] * len(sessions)}
    batch.update(tu.get_tensordict({name: np.array(v, dtype=object) for name, v in columns.items()}))
