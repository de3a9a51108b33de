# SPDX-License-Identifier: Apache-2.0
"""Model of the example: a small one that guesses the lowest open number half of the time, otherwise any open one."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from guess_number import NUMBERS, THINGS, TURNS  # noqa: E402
from player import Lesson, teach  # noqa: E402

from siri_verl.trajectory.prompts import COMPACT, render_prompt  # noqa: E402
from siri_verl.trajectory.turn import TurnView  # noqa: E402


def lessons(seed: int = 0) -> list[Lesson]:
    """(messages, reply): two guesses for every interval, turn and thing."""
    rng, found, most = random.Random(seed), [], len(NUMBERS)
    intervals = [(low, high) for low in range(1, most + 1) for high in range(low, most + 1)]
    turns = [(1, (1, most))] * 60 + [(turn, interval) for turn in range(2, TURNS + 1) for interval in intervals]
    for (turn, (low, high)), thing in itertools.product(turns, THINGS):
        view = TurnView(f"how many {thing} are there", f"from {low} to {high}", turn=turn)
        for guess in (low, rng.randint(low, high)):
            reply = f"<think>so</think><action>{guess}</action>"
            found.append(([{"role": "user", "content": render_prompt(view, COMPACT)}], reply))
    return found


if __name__ == "__main__":
    loss = teach(Path(sys.argv[1]) / "model", lessons(), steps=400, batch=32)
    print(f"model: loss {loss:.3f} per token; what is left is the choice between open numbers")
