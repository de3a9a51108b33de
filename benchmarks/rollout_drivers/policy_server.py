# SPDX-License-Identifier: Apache-2.0
"""A policy server with continuous batching, as latencies alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Speed:
    """Latencies of a server.

    Attributes:
        step: seconds of a decoding step whatever its size.
        row: further seconds per running request.
        prompt_token: seconds per token of a prompt that is computed.
        max_running: most requests in a batch.
        source: measured where, or stated why.
    """

    step: float
    row: float
    prompt_token: float
    max_running: int = 256
    source: str = ""


@dataclass(eq=False)
class _Request:
    prompt_tokens: int
    left: int
    done: asyncio.Event = field(default_factory=asyncio.Event)


class PolicyServer:
    """Serves in the running event loop: each step admits what waits, and gives every running request one token.

    Attributes:
        generations, tokens: served so far.
        busy: seconds spent in steps.
    """

    def __init__(self, speed: Speed):
        self.speed = speed
        self.generations = self.tokens = 0
        self.busy = 0.0
        self._waiting: list[_Request] = []
        self._running: list[_Request] = []
        self._worker: asyncio.Task[None] | None = None

    async def generate(self, prompt_tokens: int, reply_tokens: int) -> None:
        """Return when a reply of that length is complete."""
        request = _Request(prompt_tokens, reply_tokens)
        self._waiting.append(request)
        self.generations += 1
        self.tokens += reply_tokens
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._serve())
        await request.done.wait()

    async def _serve(self) -> None:
        while self._waiting or self._running:
            room = self.speed.max_running - len(self._running)
            admitted, self._waiting = self._waiting[:room], self._waiting[room:]
            self._running += admitted
            seconds = self.speed.step + self.speed.row * len(self._running)
            seconds += self.speed.prompt_token * sum(r.prompt_tokens for r in admitted)
            self.busy += seconds
            await asyncio.sleep(seconds)
            for request in self._running:
                request.left -= 1
                if request.left <= 0:
                    request.done.set()
            self._running = [r for r in self._running if r.left > 0]


# Stated: 3.1 GB of bf16 weights at two thirds of 3.35 TB/s and a launch overhead of 4 ms; 0.1 ms per row for keys and
# values, sampling and detokenisation; prompts at 2 N FLOP per token and 350 TFLOP/s. siri-verl plan has the formulas.
H100_1_5B = Speed(0.0055, 0.0001, 3.1e9 / 350e12, source="stated: 1.5B parameters in bf16 on one 80 GB H100")
