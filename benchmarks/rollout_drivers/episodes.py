# SPDX-License-Identifier: Apache-2.0
"""Lengths and latencies of episodes: stated distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Turn:
    """Tokens of the prompt and of the reply, and seconds of the environment's step."""

    prompt_tokens: int
    reply_tokens: int
    environment: float


Episodes = Sequence[Sequence[Turn]]


@dataclass(frozen=True)
class Lengths:
    """A distribution of episodes.

    Attributes:
        max_turns: where an episode is cut off.
        unfinished: share of the episodes that are cut off.
        turns: mean turns of the others (a geometric distribution from 2 on).
        prompt: tokens of a prompt, and standard deviation.
        reply: median tokens of a reply; lognormal with `spread`, at most `max_reply`.
        environment: median seconds of a step; lognormal with a spread of 0.5.
    """

    max_turns: int
    unfinished: float
    turns: float
    prompt: tuple[float, float]
    reply: float
    spread: float = 0.5
    max_reply: int = 512
    environment: float = 0.01

    def draw(self, count: int, seed: int) -> list[list[Turn]]:
        """`count` episodes."""
        rng = np.random.default_rng(seed)
        drawn = []
        for _ in range(count):
            if rng.random() < self.unfinished:
                turns = self.max_turns
            else:
                turns = min(self.max_turns, 1 + int(rng.geometric(1 / (self.turns - 1))))
            drawn.append([self._turn(rng) for _ in range(turns)])
        return drawn

    def _turn(self, rng: np.random.Generator) -> Turn:
        prompt = max(1, round(rng.normal(*self.prompt)))
        reply = min(self.max_reply, max(1, round(self.reply * float(rng.lognormal(0, self.spread)))))
        return Turn(prompt, reply, self.environment * float(rng.lognormal(0, 0.5)))


# Limits of turns and reply tokens are those of the family's published scripts (docs/results.md); median lengths and the
# share of unfinished episodes are stated, not measured, and swept in the picture.
WEBSHOP_LIKE = Lengths(15, 0.3, 6.0, (900, 200), 130, environment=0.02)
ALFWORLD_LIKE = Lengths(50, 0.3, 14.0, (700, 150), 110, environment=0.01)


def with_unfinished(lengths: Lengths, share: float) -> Lengths:
    """The same episodes with another share of them cut off."""
    return replace(lengths, unfinished=share)
