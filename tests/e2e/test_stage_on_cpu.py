# SPDX-License-Identifier: Apache-2.0
"""verl's own trainer as a stage of a recipe: what the screen shows, what the log holds, and a clean interrupt."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from support.configs import toy_command
from support.tiny_model import write_toy_inputs

from siri_verl.runs.folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_toy_inputs(tmp_path_factory.mktemp("inputs"))


def start(inputs, run, *overrides):
    """`siri-verl stage` with a training command, its output in files."""
    settings = ("data.max_prompt_length=512", "data.max_response_length=12", "actor_rollout_ref.rollout.n=4")
    more = ("trainer.test_freq=2", "trainer.save_freq=1", "siri.update.mini_batches=1", *overrides)
    words = ["--title", "training", "--log", str(run / "run.log"), "--run", str(run), "--rerun", "bash again", "--"]
    command = [sys.executable, "-m", "siri_verl", "stage", *words, *toy_command(inputs, run, *settings, *more)]
    run.mkdir(parents=True)
    with (run / "screen").open("wb") as screen:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, cwd=inputs, env=environment, stdout=screen, stderr=subprocess.STDOUT)


def of_run(run):
    """Processes whose environment or command names the run."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(run) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_run_shows_a_line_per_step_and_keeps_the_rest_in_its_log(inputs, tmp_path):
    run = tmp_path / "run"
    assert start(inputs, run, "trainer.total_training_steps=2").wait(timeout=1500) == 0
    shown = [line for line in (run / "screen").read_text().splitlines() if not line.endswith(" so far")]
    assert shown[:2] == ["training ...", f"run folder {run}"]
    assert shown[2].startswith("validation before training: 0.000 (0.000 to ")
    assert shown[3].startswith("step 1/2 | warm-up | success 0.00 | validation 0.000 (")
    assert shown[4].startswith("step 2/2 | ") and "at step 2 | skills 0 active, 0 candidates | 0 s left" in shown[4]
    assert len(shown) == 6 and shown[5].startswith("training: done in ")
    log = (run / "run.log").read_text()
    assert "TaskRunnerV1" in log and "Training Progress" in log
    assert "Continuous Token" not in log and "target_num_threads" not in log


def test_an_interrupt_stops_cleanly_and_names_the_checkpoint(inputs, tmp_path):
    run = tmp_path / "run"
    stage = start(inputs, run, "trainer.total_training_steps=200")
    folder, limit = RunFolder(run), time.monotonic() + 1500
    while folder.newest_checkpoint() is None:
        assert stage.poll() is None and time.monotonic() < limit, (run / "screen").read_text()
        time.sleep(0.5)
    others = psutil.Process(stage.pid).children(recursive=True)
    stage.send_signal(signal.SIGINT)
    assert stage.wait(timeout=300) == 130
    step = folder.newest_checkpoint().step
    lines = (run / "screen").read_text().splitlines()
    assert lines[-3] == "stopping; interrupt again to stop at once"
    assert lines[-2].endswith(f"the newest checkpoint is that of step {step}: {run}/global_step_{step}")
    assert lines[-1] == "resume with: bash again"
    assert "Traceback" not in (run / "screen").read_text()
    assert len(others) > 5 and not psutil.wait_procs(others, timeout=20)[1]
    assert not of_run(run)
