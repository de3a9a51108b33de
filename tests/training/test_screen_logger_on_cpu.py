# SPDX-License-Identifier: Apache-2.0
"""verl's logger `siri`, made by verl's own Tracking."""

import pytest
from verl.utils.tracking import Tracking

from siri_verl.screen import marked_text
from siri_verl.training.screen_logger import ScreenLogger


def config(total=10, optim=None):
    return {
        "trainer": {"default_local_dir": "runs/x", "total_training_steps": total},
        "actor_rollout_ref": {"actor": {"optim": {"total_training_steps": optim}}},
    }


def shown(capsys):
    return [text for line in capsys.readouterr().out.splitlines() if (text := marked_text(line)) is not None]


def test_verl_makes_the_logger_by_its_name_and_prints_nothing_else(capsys):
    tracking = Tracking("project", "experiment", ["siri"], config())
    tracking.log({"siri/val/success": 0.25, "siri/val/success_low": 0.2, "siri/val/success_high": 0.3}, 0)
    tracking.log({"training/global_step": 1, "siri/success": 0.5, "timing_s/step": 20.0}, 1)
    tracking.finish()
    assert shown(capsys) == [
        "run folder runs/x",
        "validation before training: 0.250 (0.200 to 0.300)",
        "step  1/10 | success 0.50 | validation 0.250 (0.200 to 0.300) at step 0 | 3 min left",
    ]


def test_other_loggers_stay_as_they_are_and_unknown_ones_are_refused(capsys):
    tracking = Tracking("project", "experiment", "console", config())
    assert list(tracking.logger) == ["console"]
    with pytest.raises(AssertionError, match="consol is not supported"):
        Tracking("project", "experiment", ["consol"], config())
    assert shown(capsys) == []


def test_the_time_left_follows_the_steps_of_this_start(capsys):
    now = iter([100.0, 130.0, 160.0])
    logger = ScreenLogger(config(), clock=lambda: next(now))
    for step in (5, 6, 7):  # a resumed run
        logger.log({"training/global_step": step, "timing_s/step": 10.0}, step)
    assert [line.rpartition(" | ")[2] for line in shown(capsys)[1:]] == ["50 s left", "2 min left", "2 min left"]


def test_verls_number_of_steps_is_taken_where_the_run_sets_none(capsys):
    logger = ScreenLogger(config(total=None, optim=40))
    logger.log({"training/global_step": 4, "timing_s/step": 1.0}, 4)
    assert shown(capsys)[1] == "step  4/40 | 36 s left"
    logger = ScreenLogger(config(total=None, optim=-1))
    logger.log({"training/global_step": 4}, 4)
    assert shown(capsys)[1] == "step 4"
