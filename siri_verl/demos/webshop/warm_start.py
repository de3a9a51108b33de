# SPDX-License-Identifier: Apache-2.0
"""The warm start: rows of the three neutral abilities, and verl's own SFT trainer on them.

    python -m siri_verl.demos.webshop.warm_start --out DIR

Writes `rows.parquet`, `initial/` (the untrained model), `checkpoints/` (verl's) and `model/`, the Hugging Face folder
that reinforcement learning starts from.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from siri_verl.core.seeding import derive_seed
from siri_verl.demos.warm_start.rows import Row, make_rows
from siri_verl.demos.warm_start.sft import SftSettings, parse_arguments, run_sft
from siri_verl.demos.webshop.demo import DEMO
from siri_verl.demos.webshop.generator import WARM_START_SPLIT, generate
from siri_verl.demos.webshop.model import make_model
from siri_verl.demos.webshop.settings import demo_env

MAX_LENGTH = 320
"""Tokens of the longest row; a longer one is an error, never cut."""


@dataclass(frozen=True)
class WarmStart:
    """How much is learned, and how."""

    act: int = 5000
    """Episodes; each gives a row per turn, before thinning."""
    follow: int = 7500
    describe: int = 4000
    """Trajectories; each gives one row."""
    shops: int = 50
    """Throw-away catalogues the episodes are played in."""
    batch_size: int = 32
    learning_rate: float = 2.5e-3
    epochs: int = 1
    threads: int = 1
    seed: int = 0


def write_rows(path: Path, settings: WarmStart) -> int:
    """Write the parquet file that verl's SFT dataset reads; returns the number of rows.

    The episodes are played in `settings.shops` shops that are made for this and thrown away: with the products of one
    shop alone the model learns its asins by heart instead of learning to copy what a page shows. They hold families of
    the warm-start panel only, and are no part of the catalogue that reinforcement learning plays in.
    """
    import pandas

    rows: list[Row] = []
    for shop in range(settings.shops):
        share = [
            n // settings.shops + (shop < n % settings.shops)
            for n in (settings.act, settings.follow, settings.describe)
        ]
        with tempfile.TemporaryDirectory(prefix="siri_demo_shop_") as folder:
            generate(folder, seed=derive_seed(settings.seed, "warm-start shop", shop), panels=("warm_start",))
            env = demo_env(folder)
            tasks = env.catalog.split(WARM_START_SPLIT).train
            episodes = dict(zip(("act", "follow", "describe"), share, strict=True))
            rows += make_rows(DEMO, env, tasks, episodes, seed=derive_seed(settings.seed, "warm-start rows", shop))
    random.Random(settings.seed).shuffle(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame([row.record() for row in rows]).to_parquet(path)
    return len(rows)


def warm_start(out: Path | str, settings: WarmStart, overrides: list[str] | None = None) -> Path:
    """Make rows and model and run verl's SFT trainer; see `run_sft` for files and errors.

    Returns:
        The folder of the trained model.
    """
    learning = SftSettings(
        max_length=MAX_LENGTH,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        epochs=settings.epochs,
        threads=settings.threads,
        seed=settings.seed,
    )
    return run_sft(
        out,
        learning,
        lambda path: write_rows(path, settings),
        lambda path: make_model(path, seed=settings.seed),
        overrides,
    )


def main() -> None:
    """Command line."""
    warm_start(*parse_arguments(__doc__, WarmStart()))


if __name__ == "__main__":
    main()
