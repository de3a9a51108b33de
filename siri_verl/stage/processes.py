# SPDX-License-Identifier: Apache-2.0
"""The processes that a stage's command has started, found by the variable that they inherit."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil

from siri_verl.screen import STAGE

DYING = 3.0
"""Seconds that killed processes are waited for."""


def members(stage: str) -> list[psutil.Process]:
    """All living processes whose environment names the stage, wherever they are in the process tree."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(STAGE) == stage and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:  # it ended, or is another user's
            continue
    return found


def end_all(stage: str, *, patience: float) -> None:
    """Wait for the processes of a stage to end; ask those that do not, and then kill them.

    Args:
        stage: its name.
        patience: seconds until they are asked; as long again until they are killed. 0: killed at once.
    """
    left = psutil.wait_procs(members(stage), timeout=patience)[1] if patience else members(stage)
    if left and patience:
        for process in left:
            _signal(process.terminate)
        psutil.wait_procs(left, timeout=patience)
    left = members(stage)
    for process in left:
        _signal(process.kill)
    psutil.wait_procs(left, timeout=DYING)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        pass
