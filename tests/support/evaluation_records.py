# SPDX-License-Identifier: Apache-2.0
"""Trajectories of an evaluation, made by hand."""

from dataclasses import replace

from siri_verl.trajectory.file import EVALUATION
from siri_verl.trajectory.turn import Trajectory, Turn

TURN = Turn("a hall", "<think>so</think><action>go</action>", "go", prompt_tokens=10, reply_tokens=4)
BAD_TURN = replace(TURN, valid=False, problem="no_action_tags", admissible=False, reply_tokens=16)
IDLE_TURN = replace(TURN, admissible=False, history_dropped=1)


def episode(task_id="t1", session=0, **changes):
    values = {
        "source": EVALUATION,
        "step": None,
        "task_id": task_id,
        "task": "go \u2028 \ud800 on",
        "turns": (TURN,),
        "success": True,
        "score": 1.0,
        "task_type": "coin",
        "session": session,
        "env_seed": 5,
        "status": "terminated",
        "final_observation": "over",
    }
    return Trajectory(**{**values, **changes})


def records():
    """Two tasks, twice each; "a" is of category x, "b" of none."""
    shown = {"task_type": "lamp", "arm": "skill", "skill_id": "s0003", "skill_text": "When dark: light"}
    return [
        episode("a", 0, category="x", turns=(TURN, IDLE_TURN)),
        episode("a", 1, category="x", success=False, score=0.0, turns=(BAD_TURN,), status="truncated"),
        episode("b", 0, **shown),
        episode("b", 1, **shown, skill_missing=True),
    ]
