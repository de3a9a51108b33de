# SPDX-License-Identifier: Apache-2.0
"""A run without a model, in a process that is killed with SIGKILL at random moments and started again: through the real
checkpoint, tracker, metrics file and lock. tests/faults does the same with verl's trainer."""

import json
import os
import random
import signal
import time

import pytest
import ray  # noqa: F401  once, not in every child
from omegaconf import OmegaConf
from support.synthetic_run import Story, make_run, play, run_settings

from siri_verl.core.phases import PhaseSettings
from siri_verl.files import TEMPORARY
from siri_verl.runs.checkpoint import load_state, repair_tracker, save_state
from siri_verl.runs.folder import DATA_LOADER, RunFolder
from siri_verl.runs.metrics import read_metrics
from siri_verl.runs.writer import RunWriter
from siri_verl.skills.bank_file import dump_bank, load_bank

STEPS = 18
PHASES = PhaseSettings(warm_up_tasks=1000, warm_up_max_steps=5, mining_max_steps=6, active_share=1.0)


def train(folder):
    """Start or resume; writes in the order of the trainer and of verl."""
    config = OmegaConf.create({"trainer": {"default_local_dir": str(folder), "resume_mode": "auto"}})
    files, run, done = RunWriter(config, 0), make_run(run_settings(phases=PHASES)), 0
    repair_tracker(config)
    if (newest := files.folder.newest_checkpoint()) is not None:
        done = newest.step
        run.load(newest.path, load_state(newest)["skills"])
    files.set_aside_after(done)
    for step in range(done + 1, STEPS + 1):
        story = Story()
        play(run, [step], story)
        counts = {f"siri/bank/{name}": value for name, value in vars(run.census()).items()}
        files.write_metrics("train", step, {"siri/plans": hash_of(story.plans), **counts})
        files.write_bank(dump_bank(run.bank))
        checkpoint = files.folder.checkpoint(step)
        save_state(checkpoint, {"env_steps": step, "skills": run.save(checkpoint.path)})
        (checkpoint.path / DATA_LOADER).write_bytes(b"x" * 10_000)
        with files.folder.tracker.open("w") as tracker:
            tracker.write(str(step))
    files.close()


def hash_of(plans):
    return random.Random(repr(plans)).randrange(10**9)


def start(folder):
    """`train` in a child of this process, which has imported everything; its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(folder)
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child):
    """How a child ended: exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def step_of(run):
    newest = run.newest_checkpoint()
    return 0 if newest is None else newest.step


@pytest.mark.parametrize("most", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path, most):
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    begun = time.monotonic()
    assert ended(start(whole.path)) == 0
    longest = (time.monotonic() - begun) / STEPS
    rng, kills, phases = random.Random(most), 0, set()
    while kills < most:
        goal, child = STEPS * kills // most, start(killed.path)  # spread over the steps
        while step_of(killed) < goal and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        assert code in (0, -signal.SIGKILL), "a start that is not killed ends well"
        if code == 0:
            break
        kills += 1
        if killed.bank.is_file():
            load_bank(killed.bank)  # never half of it
        if (newest := killed.newest_checkpoint()) is not None:
            phases.add(load_state(newest)["skills"]["phases"]["phase"])
    assert ended(start(killed.path)) == 0
    assert kills >= most // 2 and (len(phases) == 3 or most < 40), f"{kills} kills, in {phases}"
    for step in range(1, STEPS + 1):
        for name in ("bank", "state"):
            ours, theirs = (getattr(folder.checkpoint(step), name).read_text() for folder in (killed, whole))
            assert ours == theirs, f"{name} of step {step}"
    assert killed.bank.read_text() == whole.bank.read_text()
    assert read_metrics(killed.metrics) == read_metrics(whole.metrics)
    steps = [json.loads(line)["step"] for line in killed.metrics.read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1)), "no step is recorded twice"
    assert not list(killed.path.rglob(f".*{TEMPORARY}")) and not list(tmp_path.glob(".*.lock"))


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00\x00"])
def test_a_tracker_that_a_full_disk_left_empty_is_written_again(tmp_path, content, caplog):
    run = RunFolder(tmp_path)
    config = OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}})
    for step in (1, 2, 3):
        run.checkpoint(step).path.mkdir()
        if step < 3:
            (run.checkpoint(step).path / DATA_LOADER).touch()
    run.tracker.write_bytes(content)
    assert run.newest_checkpoint() == run.checkpoint(2), "that of step 3 is not complete"
    repair_tracker(config)
    assert run.tracker.read_text() == "2" and "resumes from" in caplog.text
    run.tracker.write_text("1")
    repair_tracker(config)
    assert run.tracker.read_text() == "1", "a sound one is left alone"


def test_a_tracker_without_any_checkpoint_is_removed(tmp_path):
    RunFolder(tmp_path).tracker.write_text("")
    repair_tracker(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}}))
    assert RunFolder(tmp_path).newest_checkpoint() is None and not RunFolder(tmp_path).tracker.exists()
