# SPDX-License-Identifier: Apache-2.0
"""An asyncio event loop in virtual time: a sleep takes no time and moves the clock, so that coroutines written for real
time are simulated as they are."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.SelectSelector):
    """Moves the clock where a real selector waits."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("virtual time: every coroutine waits and no sleep ends")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and moves from one due sleep to the next."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now


def simulate(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in virtual time; returns its result."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
