# SPDX-License-Identifier: Apache-2.0
"""A training run to which faults happen: started as a user starts it, watched through its files, and ended.

Every process of a run inherits an environment variable with the run's folder, by which it is found wherever it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics
from siri_verl.skills.bank_file import load_bank
from support.configs import toy_command
from support.toy_run import player_settings

NAME = "SIRI_FAULT_RUN"
DEADLINE = 240.0
"""Seconds within which a run must have ended after a fault that it cannot survive. Ray's own pings need up to 60."""
GONE = 60.0
"""Seconds within which the processes of a run that has ended must be gone."""
STEPS, PHASE = 18, 6
"""Training steps, and how many of them each phase has."""


def settings(inputs: Path) -> tuple[str, ...]:
    """A run with two tasks a step (of four, in a shuffled order), all three phases, replay and a checkpoint a step."""
    return (
        *player_settings(inputs),
        *("data.train_batch_size=2", "actor_rollout_ref.actor.ppo_mini_batch_size=2", "actor_rollout_ref.rollout.n=4"),
        *(f"trainer.total_training_steps={STEPS}", "trainer.total_epochs=100", "trainer.save_freq=1"),
        *("trainer.test_freq=-1", "trainer.val_before_train=False", "siri.internalization.warmup_updates=1"),
        *(f"siri.phases.warm_up_max_steps={PHASE}", f"siri.phases.mining_max_steps={PHASE}", "siri.mining.every=2"),
        *("siri.internalization.replay=2", "trainer.max_actor_ckpt_to_keep=3", "data.shuffle=True"),
    )


class FaultRun:
    """One run.

    Args:
        inputs: what `support.toy_run.write_inputs` wrote.
        folder: of the run.
        overrides: further settings.
        environment: more environment variables.
    """

    def __init__(self, inputs: Path, folder: Path, *overrides: str, **environment: str):
        self.inputs, self.path, self.folder = inputs, folder, RunFolder(folder)
        self.command = toy_command(inputs, folder, *settings(inputs), *overrides)
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", NAME: str(folder), **environment}
        self.log = folder.with_suffix(".log")
        self.driver: subprocess.Popen | None = None
        self.segments = shared_memory()

    def start(self) -> None:
        """Start or resume."""
        with self.log.open("ab") as log:
            log.write(b"\n==== start\n")
            self.driver = subprocess.Popen(
                self.command, cwd=self.inputs, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def steps(self) -> int:
        """The last finished training step."""
        if not self.folder.metrics.is_file():
            return 0
        return max((r["step"] for r in read_metrics(self.folder.metrics) if r["kind"] == "train"), default=0)

    def wait_until(self, done: Callable[[], bool], patience: float = 1200.0) -> None:
        """Wait while the run goes on.

        Raises:
            AssertionError: it ends before, or takes too long.
        """
        limit = time.monotonic() + patience
        while not done():
            assert self.driver.poll() is None, f"ended with {self.driver.returncode}: {self.tail()}"
            assert time.monotonic() < limit, f"not within {patience:.0f} s: {self.tail()}"
            time.sleep(0.1)

    def finish(self, patience: float = 1800.0) -> int:
        """Its exit code; a run that does not end is ended, and -999 stands for it."""
        try:
            return self.driver.wait(patience)
        except subprocess.TimeoutExpired:
            self.end()
            return -999

    def processes(self) -> list[psutil.Process]:
        """All living processes of the run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(NAME) == str(self.path) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def named(self, *names: str) -> list[psutil.Process]:
        """Processes of the run whose title has one of the names (Ray calls an actor's process `ray::Class`)."""
        found = []
        for process in self.processes():
            try:
                title = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if any(name in title for name in names):
                found.append(process)
        return found

    def kill(self, *names: str) -> int:
        """SIGKILL these processes; `driver` is the command itself, `all` every process. Returns how many."""
        if names == ("driver",):
            victims = [psutil.Process(self.driver.pid)]
        else:
            victims = self.processes() if names == ("all",) else self.named(*names)
        for victim in victims:
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        return len(victims)

    def left_over(self, patience: float = GONE) -> list[str]:
        """Titles of processes that are still there some seconds after the run has ended; they are then ended."""
        limit = time.monotonic() + patience
        while (left := self.processes()) and time.monotonic() < limit:
            time.sleep(0.5)
        titles = []
        for process in left:
            try:
                titles.append(" ".join(process.cmdline())[:60])
                process.kill()
            except psutil.Error:
                continue
        return titles

    def end(self) -> None:
        """End whatever is left."""
        self.kill("all")
        if self.driver is not None:
            self.driver.wait(30)

    def tail(self, size: int = 3000) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-size:]


def shared_memory() -> set[str]:
    """Segments of this machine's shared memory."""
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def forgotten(before: set[str]) -> list[str]:
    """Segments that are new since then and that no process maps or holds open."""
    used = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            used.append((process / "maps").read_text(errors="replace"))
            for link in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    used.append(os.readlink(process / "fd" / link) + "\n")
    text = "".join(used)
    return sorted(name for name in shared_memory() - before if f"/dev/shm/{name}" not in text)


def state(run: Path, step: int = STEPS) -> dict[str, str]:
    """What must not depend on interruptions: bank, phase and counters, replayed rows of the last checkpoint."""
    folder = RunFolder(run).checkpoint(step)
    return {path.name: path.read_text() for path in (folder.bank, folder.state, folder.replay)}


def step_metrics(run: Path) -> dict[int, dict[str, float]]:
    """Step -> the metrics under `siri/` and of the loss, which an interruption must not change.

    Raises:
        AssertionError: a step is recorded twice.
    """
    lines = [json.loads(line) for line in RunFolder(run).metrics.read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert len(steps) == len(set(steps)), f"steps that are recorded twice: {steps}"
    kept = ("siri/", "actor/pg_loss", "actor/internalization_loss", "actor/grad_norm")
    return {
        line["step"]: {name: value for name, value in line["metrics"].items() if name.startswith(kept)}
        for line in lines
        if line["kind"] == "train"
    }


def skills(run: Path, step: int = STEPS) -> dict[str, str]:
    """Id -> text of every skill of a checkpoint."""
    return {name: skill.block for name, skill in load_bank(RunFolder(run).checkpoint(step).bank).skills.items()}
