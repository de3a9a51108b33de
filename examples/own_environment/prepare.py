# SPDX-License-Identifier: Apache-2.0
"""Model of the example: a small one that guesses any number that is still open."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from guess_number import THINGS  # noqa: E402
from player import Lesson, teach  # noqa: E402

from siri_verl.trajectory.prompts import COMPACT, render_prompt  # noqa: E402
from siri_verl.trajectory.turn import TurnView  # noqa: E402


def lessons(seed: int = 0) -> list[Lesson]:
    """(messages, reply): an open number or two for every interval, turn and thing."""
    rng, found = random.Random(seed), []
    intervals = [(low, high) for low in range(1, 17) for high in range(low, 17)]
    turns = [(1, (1, 16))] * 60 + [(turn, interval) for turn in (2, 3, 4) for interval in intervals]
    for (turn, (low, high)), thing in itertools.product(turns, THINGS):
        view = TurnView(f"how many {thing} are there", f"from {low} to {high}", turn=turn)
        for guess in rng.sample(range(low, high + 1), min(2, high - low + 1)):
            reply = f"<think>so</think><action>{guess}</action>"
            found.append(([{"role": "user", "content": render_prompt(view, COMPACT)}], reply))
    return found


if __name__ == "__main__":
    loss = teach(Path(sys.argv[1]) / "model", lessons(), steps=400, batch=32)
    print(f"model: loss {loss:.3f} per token; what is left is which of the open numbers")
