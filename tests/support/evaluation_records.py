# SPDX-License-Identifier: Apache-2.0
"""Records of an evaluation, made by hand."""

from siri_verl.evaluation.log import EPISODE

TURN = {
    "observation": "a hall",
    "reply": "<think>so</think><action>go</action>",
    "action": "go",
    "problem": None,
    "admissible": True,
    "prompt_tokens": 10,
    "reply_tokens": 4,
    "history_dropped": 0,
}


BAD_TURN = {**TURN, "problem": "no_action_tags", "admissible": False, "reply_tokens": 16}
IDLE_TURN = {**TURN, "admissible": False, "history_dropped": 1}


def episode(task_id="t1", repetition=0, **changes):
    return {
        "record": EPISODE,
        "task_id": task_id,
        "repetition": repetition,
        "trial": 1,
        "env_seed": 5,
        "task": "go \u2028 \ud800 on",
        "category": "",
        "task_type": "coin",
        "skill_id": "",
        "skill_missing": False,
        "success": True,
        "score": 1.0,
        "status": "terminated",
        "turns": [dict(TURN)],
        "final_observation": "over",
        **changes,
    }


def records():
    """Two tasks, twice each; "a" is of category x, "b" of none."""
    return [
        episode("a", 0, category="x", turns=[TURN, IDLE_TURN]),
        episode("a", 1, category="x", success=False, score=0.0, turns=[BAD_TURN], status="truncated"),
        episode("b", 0, task_type="lamp", skill_id="s0003"),
        episode("b", 1, task_type="lamp", skill_id="s0003", skill_missing=True),
    ]
