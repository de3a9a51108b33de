# SPDX-License-Identifier: Apache-2.0
"""Model and data of the example: a small model that goes left or right at random, and where walks start.

A walk of training may take 40 turns, so that most walks reach the door from the start. Validation allows 9.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas

sys.path.insert(0, str(Path(__file__).parents[1] / "lib"))

from corridor import DOOR, REPLIES, prompt  # noqa: E402
from player import teach  # noqa: E402

STARTS = {"train": (0, 1, 2, 3), "validation": (1, 2)}
TURNS = {"train": 40, "validation": 9}


def prepare(folder: Path) -> None:
    """Write model/, train.parquet and validation.parquet."""
    lessons = [(prompt(place), reply) for place in range(DOOR) for reply in REPLIES]
    loss = teach(folder / "model", lessons)
    print(f"model: loss {loss:.3f} per token on walks that go left and right equally often")
    for name, starts in STARTS.items():
        rows = [
            {
                "prompt": prompt(start),
                "data_source": "corridor",
                "agent_name": "corridor",
                "reward_model": {"style": "rule", "ground_truth": ""},
                "extra_info": {"index": k, "start": start, "turns": TURNS[name]},
            }
            for k, start in enumerate(starts * 4)
        ]
        pandas.DataFrame(rows).to_parquet(folder / f"{name}.parquet")


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
