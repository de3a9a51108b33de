# SPDX-License-Identifier: Apache-2.0
"""Runs a command with its output in a log, shows its progress, and ends it cleanly when the user interrupts."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console

from siri_verl.runs.stop import stop_lines
from siri_verl.screen import STAGE, duration
from siri_verl.stage.display import Display
from siri_verl.stage.processes import end_all, members
from siri_verl.terminal import Terminal

INTERRUPTED = 130
"""Exit code after an interrupt, as a shell gives it."""
STOPPING = 30.0
"""Seconds that an interrupted command has until it is ended."""
LEFT_OVER = 5.0
"""Seconds that the children of a command have after it."""


@dataclass(frozen=True)
class Stage:
    """One command of a recipe.

    Attributes:
        title: shown beside its progress.
        command: words.
        log: file that its whole output is appended to.
        run: folder of the run that an interrupt leaves; None: the command is no training.
        rerun: the command line that goes on after an interrupt.
        verbose: the whole output is shown too.
    """

    title: str
    command: Sequence[str]
    log: Path
    run: Path | None = None
    rerun: str = ""
    verbose: bool = False


@dataclass
class _Interrupts:
    """Counts interrupts; the second one kills."""

    stage: str
    display: Display
    child: subprocess.Popen
    count: int = 0
    deadline: float = field(default=float("inf"))

    def __call__(self, number: int, frame: Any) -> None:
        self.count += 1
        if self.count > 1:
            end_all(self.stage, patience=0)
            return
        self.display.show("stopping; interrupt again to stop at once")
        self.deadline = time.monotonic() + STOPPING
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)


def _heed_interrupts() -> None:
    """A shell without job control starts background commands with interrupts ignored, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_stage(stage: Stage, console: Console) -> int:
    """Run the command.

    Returns:
        Its exit code: 128 plus the signal that killed it, 130 after an interrupt.
    """
    stage.log.parent.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    environment = os.environ | {STAGE: name, "PYTHONUNBUFFERED": "1"}
    display = Display(stage.title, console, verbose=stage.verbose)
    with stage.log.open("ab") as log, display:
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        log.write(f"\n==== {began} {stage.title}: {shlex.join(stage.command)}\n".encode())
        log.flush()
        child = subprocess.Popen(
            stage.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a terminal's interrupt reaches this process alone
            preexec_fn=_heed_interrupts,
        )
        interrupts = _Interrupts(name, display, child)
        before = {number: signal.signal(number, interrupts) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            _follow(stage, display, child, log, interrupts)
            if members(name):
                end_all(name, patience=0 if interrupts.count > 1 else LEFT_OVER)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    code = child.returncode if child.returncode >= 0 else 128 - child.returncode
    if interrupts.count:
        for line in stop_lines(stage.run, stage.rerun):
            display.show(line)
        return INTERRUPTED
    if code:
        _tell_failure(stage, display, code)
    elif not stage.verbose:
        display.show(f"{stage.title}: done in {duration(display.seconds)}")
    return code


def _follow(stage: Stage, display: Display, child: subprocess.Popen, log: BinaryIO, interrupts: _Interrupts) -> None:
    """Copy the output until the command has ended; its children may keep the pipe open for longer."""
    pipe, rest = child.stdout.fileno(), b""
    while True:
        ended = child.poll() is not None
        if select.select([pipe], [], [], 0.2 if ended else 1.0)[0]:
            chunk = os.read(pipe, 1 << 16)
            log.write(chunk)
            log.flush()
            if stage.verbose:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                display.line(line.decode("utf-8", "replace"))
            if not chunk:
                child.wait()
                break
        elif ended:
            break
        if not interrupts.count:
            display.tick()
        if time.monotonic() > interrupts.deadline and child.poll() is None:
            end_all(interrupts.stage, patience=0)
    if rest:
        display.line(rest.decode("utf-8", "replace"))


def _tell_failure(stage: Stage, display: Display, code: int) -> None:
    """The last lines of the output, and where the rest is."""
    errors = Terminal(stderr=True, soft_wrap=True, highlight=False)
    if not stage.verbose:
        for line in display.last:
            errors.print(f"  {line}")
    errors.print(f"{stage.title}: failed with exit code {code}; the whole log: {stage.log}")
