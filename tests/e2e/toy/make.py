# SPDX-License-Identifier: Apache-2.0
"""Toy data for a run of verl's own trainer: prompts that name a letter, and a reward for writing it."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas

sys.path.append(str(Path(__file__).parents[2]))

from support.tiny_model import make_tiny_model  # noqa: E402


def make(folder: Path, rows: int = 32) -> None:
    """Write model/, train.parquet, val.parquet and sft.parquet into the folder."""
    make_tiny_model(folder / "model")
    letters = [chr(ord("a") + i % 26) for i in range(rows)]
    table = pandas.DataFrame(
        {
            "prompt": [[{"role": "user", "content": f"write {c}"}] for c in letters],
            "data_source": ["toy"] * rows,
            "reward_model": [{"style": "rule", "ground_truth": c} for c in letters],
            "extra_info": [{"index": i} for i in range(rows)],
        }
    )
    table.to_parquet(folder / "train.parquet")
    table.head(8).to_parquet(folder / "val.parquet")
    pandas.DataFrame(
        {
            "messages": [
                [{"role": "user", "content": f"write {c}"}, {"role": "assistant", "content": c * 8}] for c in letters
            ]
        }
    ).to_parquet(folder / "sft.parquet")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
