# SPDX-License-Identifier: Apache-2.0
"""An evaluation's numbers by hand, and what the intervals cover."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.evaluation_records import TURN, episode, records

from siri_verl.core.statistics import BOOTSTRAP, BOUNDED, clustered_mean
from siri_verl.evaluation.summary import compare, last_trials, summarize
from siri_verl.evaluation.summary_table import summary_lines, summary_table


def test_numbers_by_hand():
    said = summarize(records(), max_response_length=16)
    assert (said["samples"], said["tasks"], said["env_steps"], said["turns"]) == (4, 2, 5, 1.25)
    assert said["success"]["mean"] == said["score"]["mean"] == 0.75
    assert said["success"]["wilson"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert said["success_by_repetition"]["values"] == [1.0, 0.5]
    assert said["success_by_repetition"]["std"] == pytest.approx(0.5**0.5 / 2)
    assert {name: (row["samples"], row["success"]["mean"]) for name, row in said["by_type"].items()} == {
        "lamp": (2, 1.0),
        "x": (2, 0.5),
    }
    assert said["reply_tokens"] == {"total": 32, "per_episode": 8.0, "per_turn": 6.4}
    assert said["shares"] == {"invalid": 0.2, "inadmissible": 0.2, "reply_cut": 0.2, "history_dropped": 0.2}
    assert said["problems"] == {"no_action_tags": 1} and said["statuses"] == {"terminated": 3, "truncated": 1}
    assert said["skills"] == {
        "shown_share": 0.5,
        "left_out_share": 0.25,
        "by_skill": {"s0003": {"samples": 2, "success": 1.0}},
    }
    assert said["trials"] is None


def test_the_last_trial_counts_and_every_trial_costs():
    some = [
        episode("a", success=False, score=0.2),
        episode("a", trial=2, success=False, score=0.4),
        episode("a", trial=3),
        episode("b"),
    ]
    assert [t.trial for t in last_trials(some[::-1])] == [1, 3]
    said = summarize(some, max_response_length=16)
    assert said["trials"] == [0.5, 0.5, 1.0]
    assert said["success"]["mean"] == 1.0
    assert said["score"]["mean"] == 1.0
    assert said["samples"] == 2
    assert said["env_steps"] == 4
    assert said["turns"] == 1.0


def test_an_endpoint_that_counts_no_tokens():
    said = summarize([episode(turns=(replace(TURN, reply_tokens=None, prompt_tokens=None),))], max_response_length=16)
    assert said["reply_tokens"] is None
    assert said["prompt_tokens"] is None
    assert said["shares"]["reply_cut"] is None


def test_a_score_outside_its_range_is_named():
    with pytest.raises(ValueError, match="'t1' is 7.0"):
        summarize([episode(score=7.0)], max_response_length=16)
    with pytest.raises(ValueError, match="no episode"):
        clustered_mean([], [])


def test_equal_tasks_claim_no_certainty():
    said = clustered_mean(range(30), [1.0] * 30)
    assert said.method == BOUNDED
    assert said.mean == said.high == 1.0
    assert 0.5 < said.low < 0.95
    assert clustered_mean(["a"] * 5, [0, 1, 0, 1, 1]).low < 0.1, "one task says little"


def test_the_task_is_the_unit():
    rng = np.random.default_rng(0)
    tasks = np.repeat(np.arange(60), 8)
    # Every task is won always or never: eight repetitions say no more than one.
    won = rng.random(60) < 0.5
    many, once = clustered_mean(tasks, won[tasks].astype(float)), clustered_mean(range(60), won.astype(float))
    assert many.method == BOOTSTRAP and (many.low, many.high) == (once.low, once.high)


@pytest.mark.parametrize("tasks, rate", [(40, 0.5), (60, 0.2)])
def test_the_interval_covers(tasks, rate):
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(120):
        # Tasks differ in difficulty; the mean of their rates is `rate`.
        rates = rng.beta(2 * rate, 2 * (1 - rate), size=tasks)
        values = rng.random((tasks, 4)) < rates[:, None]
        said = clustered_mean(np.repeat(np.arange(tasks), 4).tolist(), values.ravel().astype(float), seed=trial)
        covered += said.low <= rate <= said.high
    assert covered / 120 > 0.88


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1)), min_size=1, max_size=40), st.randoms())
def test_order_does_not_matter_and_the_mean_lies_inside(pairs, random):
    said = clustered_mean(*zip(*pairs, strict=True))
    assert said.low - 1e-9 <= said.mean <= said.high + 1e-9
    by_task = {}
    for task, value in pairs:
        by_task.setdefault(task, []).append(value)
    assert said.mean == pytest.approx(np.mean([np.mean(values) for values in by_task.values()]))


def test_a_comparison_is_paired_by_task():
    mine = [episode("a"), episode("b"), episode("c", success=False, score=0.0)]
    theirs = [episode("a"), episode("b", success=False, score=0.5), episode("d")]
    said = compare(mine, theirs)
    assert said["success"]["tasks"] == 2
    assert said["success"]["this"] == 1.0
    assert said["success"]["other"] == 0.5
    assert said["success"]["effect"] == 0.5 and said["score"]["effect"] == 0.25
    with pytest.raises(ValueError, match="no task in common"):
        compare(mine, [episode("z")])


def test_table_and_lines_say_it():
    summary = {
        "settings": {
            "model": {"name": "[m]"},
            "environment": {"name": "toy"},
            "panel": {"split": "validation"},
            "sampling": {"temperature": 0.4, "top_p": 1.0, "top_k": -1},
            "prompting": {"kind": "plain"},
            "bank": {"file": "skills.jsonl"},
            "seed": 1,
            "repeats": 2,
            "max_turns": 15,
        },
        "level": 0.95,
        "against": {"folder": "other", **compare(records(), records())},
        **summarize(records(), max_response_length=16),
    }
    console = Console(width=80, record=True)
    console.print(summary_table(summary))
    table = console.export_text()
    assert "[m] on toy" in table
    assert "lamp" in table
    assert "0.750" in table
    assert "0.301-0.954" in table
    assert "…" not in table, "fits into 80 columns"
    text = " ".join(summary_lines(summary))
    for words in ("temperature 0.4", "skills of skills.jsonl", "invalid 20.0%", "inadmissible 20.0%", "1.000 0.500"):
        assert words in text
    assert "this minus other, paired by task: success +0.000" in text and "50.0% of the episodes" in text
