# SPDX-License-Identifier: Apache-2.0
"""Tasks that the environment cannot start, or whose first prompt does not fit, in the agent loop."""

import re

from support.bad_tasks import NAME
from support.scripted_policy import actions

from siri_verl.training.metrics import rollout_metrics
from siri_verl.training.step_table import StepTable

BAD_TASKS = {
    "siri__environment__name": NAME,
    "siri__environment__kwargs": {"bad": {"t1": "reset", "t2": "exit", "t3": "long"}},
    "data__max_prompt_length": 1500,
}


def test_a_task_that_cannot_be_started_costs_its_own_sessions(play):
    """The rows are complete, so that verl keeps the group and the run; nothing is learned from them."""
    names = ["t0", "t1", "t2", "t3", "no-such-task"]
    shown = {"arm": "skill", "skill_id": "s0001", "skill_text": "go on"}
    tasks = [{"task_id": name, "session_id": k, **shown} for k, name in enumerate(names)]
    (good, *bad), policy = play(actions("go right"), tasks, **BAD_TASKS)
    assert len(policy.requests) == len(good) == 1 and good[0].extra_fields["status"] == "terminated"
    reasons = ("damaged", "SystemExit: 3", r"turn 1 has \d+ tokens .*data.max_prompt_length=1500", "no-such-task")
    for rows, reason in zip(bad, reasons, strict=True):
        (row,) = rows
        assert row.extra_fields["status"] == "not_started" and re.search(reason, row.extra_fields["reason"])
        assert row.response_mask == [0] and len(row.response_ids) == 1 and row.prompt_ids and row.reward_score == 0.0
        assert row.extra_fields["plain_prompt_ids"] == row.prompt_ids and not row.extra_fields["success"]
        assert row.extra_fields["min_global_steps"] == row.extra_fields["max_global_steps"] == 4
        assert good[0].extra_fields.keys() <= row.extra_fields.keys()
    rows = {f"u_{session}_0": rows[0].extra_fields for session, rows in enumerate([good, *bad])}
    turns = StepTable.build(list(rows), [{}] * len(rows), rows.values())
    assert turns.usable.tolist() == [True, *[False] * 4] and set(turns.arm) == {"skill"}
    metrics = rollout_metrics(turns)
    assert metrics["siri/success"] == 1.0
    assert metrics["siri/excluded_share"] == metrics["siri/status/not_started"] == 0.8
