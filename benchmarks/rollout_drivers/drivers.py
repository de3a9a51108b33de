# SPDX-License-Identifier: Apache-2.0
"""Two ways to play the same episodes: each on its own, or all in lock step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.rollout_drivers.episodes import Episodes, Turn


class Server(Protocol):
    """What a driver needs of a policy server."""

    async def generate(self, prompt_tokens: int, reply_tokens: int) -> None: ...


Driver = Callable[[Episodes, Server], Awaitable[None]]


@dataclass(frozen=True)
class Outcome:
    """Seconds, and generations that were asked for."""

    seconds: float
    generations: int
    tokens: int


async def asynchronous(episodes: Episodes, server: Server) -> None:
    """Every episode goes through its turns alone, as our agent loop does."""

    async def play(turns: Sequence[Turn]) -> None:
        for turn in turns:
            await server.generate(turn.prompt_tokens, turn.reply_tokens)
            await asyncio.sleep(turn.environment)

    await asyncio.gather(*map(play, episodes))


async def lock_step(episodes: Episodes, server: Server) -> None:
    """One batch per turn until the last episode has ended. Ended episodes stay in the batch and their replies are
    dropped, as in the rollout loop of verl-agent (agent_system/multi_turn_rollout/rollout_loop.py,
    `vanilla_multi_turn_loop`)."""
    for k in range(max(map(len, episodes))):
        rows = [turns[min(k, len(turns) - 1)] for turns in episodes]
        await asyncio.gather(*(server.generate(r.prompt_tokens, r.reply_tokens) for r in rows))
        await asyncio.gather(*(asyncio.sleep(turns[k].environment) for turns in episodes if k < len(turns)))


async def lock_step_of_unfinished(episodes: Episodes, server: Server) -> None:
    """Lock step without the ended episodes: what is left of the difference is waiting alone."""
    for k in range(max(map(len, episodes))):
        rows = [turns[k] for turns in episodes if k < len(turns)]
        await asyncio.gather(*(server.generate(r.prompt_tokens, r.reply_tokens) for r in rows))
        await asyncio.gather(*(asyncio.sleep(r.environment) for r in rows))


async def one_pass_after_the_other(episodes: Episodes, server: Server) -> None:
    """The two arms of every group in passes of their own, each asynchronous."""
    half = len(episodes) // 2
    await asynchronous(episodes[:half], server)
    await asynchronous(episodes[half:], server)


DRIVERS: dict[str, Driver] = {
    "asynchronous": asynchronous,
    "lock step": lock_step,
    "lock step of unfinished": lock_step_of_unfinished,
    "one arm after the other": one_pass_after_the_other,
}
