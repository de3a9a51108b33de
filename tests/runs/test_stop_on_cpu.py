# SPDX-License-Identifier: Apache-2.0
"""The two lines after an interrupt."""

from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import MetricsLog
from siri_verl.runs.stop import stop_lines


def test_an_interrupt_names_the_step_the_checkpoint_and_the_command(tmp_path):
    folder = RunFolder(tmp_path)
    assert stop_lines(tmp_path, "bash x") == [
        "stopped before the first step's end; there is no checkpoint yet, a rerun begins with step 1",
        "start again with: bash x",
    ]
    for step in (1, 2, 3):
        MetricsLog(folder.metrics).write("train", step, {"x": 1})
    MetricsLog(folder.metrics).write("validation", 4, {"x": 1})
    assert "stopped after step 3; there is no checkpoint yet" in stop_lines(tmp_path, "bash x")[0]
    folder.checkpoint(2).path.mkdir()
    folder.tracker.write_text("2")
    assert stop_lines(tmp_path, "bash x") == [
        f"stopped after step 3; the newest checkpoint is that of step 2: {tmp_path}/global_step_2",
        "resume with: bash x",
    ]


def test_a_stage_that_trains_nothing_goes_on():
    assert stop_lines(None, "bash x") == ["stopped; what the finished stages have written stays", "go on with: bash x"]
