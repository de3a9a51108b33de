# SPDX-License-Identifier: Apache-2.0
"""The JSON-lines copy of all metrics."""

import json
import math

import numpy as np
import pytest

from siri_verl.runs.metrics import MetricsLog, read_metrics


def test_numbers_of_every_kind_come_back_and_text_is_left_out(tmp_path):
    log = MetricsLog(tmp_path / "run" / "metrics.jsonl")
    log.write("train", np.int64(3), {"a": 1, "b": np.float32(0.5), "c": True, "d": "text", "e": [1], "f": np.int64(7)})
    (record,) = read_metrics(log.path)
    assert record == {"step": 3, "kind": "train", "metrics": {"a": 1, "b": 0.5, "c": True, "f": 7}}


def test_values_that_are_not_finite_are_null_and_the_line_stays_json(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("train", 1, {"a": math.nan, "b": np.float64("inf"), "c": 1.0})

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    line = json.loads(log.path.read_text(), parse_constant=refuse)
    assert line["metrics"] == {"a": None, "b": None, "c": 1.0}


def test_a_resumed_run_keeps_its_past_and_its_last_word_on_a_step_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = MetricsLog(path)
    for step in (1, 2, 3):
        first.write("train", step, {"x": step})
    first.write("validation", 2, {"v": 0.1})
    resumed = MetricsLog(path)  # from the checkpoint of step 1
    resumed.write("train", 2, {"x": 20})
    records = read_metrics(path)
    assert [(r["kind"], r["step"]) for r in records] == [("train", 1), ("train", 2), ("validation", 2), ("train", 3)]
    assert records[1]["metrics"] == {"x": 20}


def test_a_line_torn_by_a_crash_is_passed_over_and_the_next_does_not_join_it(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("train", 1, {"x": 1})
    with log.path.open("a") as file:
        file.write('{"step": 2, "kind": "tr')
    assert [r["step"] for r in read_metrics(log.path)] == [1]
    MetricsLog(log.path).write("train", 2, {"x": 2})
    assert [r["step"] for r in read_metrics(log.path)] == [1, 2]


def test_a_file_cut_at_any_byte_is_read_and_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path).write("train", 1, {"x": 1})
    MetricsLog(path).write("train", 2, {"x": 2})
    lines = path.read_bytes().splitlines(keepends=True)
    for cut in range(len(lines[0] + lines[1]) + 1):
        path.write_bytes(b"".join(lines)[:cut])
        whole = (cut >= len(lines[0]) - 1) + (cut >= len(lines[0] + lines[1]) - 1)
        assert [r["step"] for r in read_metrics(path)] == [1, 2][:whole]
        MetricsLog(path).write("train", 3, {})
        ended = (cut >= len(lines[0])) + (cut >= len(lines[0] + lines[1]))
        assert [r["step"] for r in read_metrics(path)] == [*[1, 2][:ended], 3]


@pytest.mark.parametrize("line", ["step 2: 0.5", '{"step": 2, "metrics": {}}', "[1, 2]"])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("train", 1, {"x": 1})
    with log.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2: (no record|not JSON)"):
        read_metrics(log.path)
