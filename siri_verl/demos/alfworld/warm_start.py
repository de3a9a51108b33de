# SPDX-License-Identifier: Apache-2.0
"""The warm start: rows of the three neutral abilities, and verl's own SFT trainer on them.

    python -m siri_verl.demos.alfworld.warm_start --out DIR

Writes `rows.parquet`, `initial/` (the untrained model), `checkpoints/` (verl's) and `model/`, the Hugging Face folder
that reinforcement learning starts from.
"""

from __future__ import annotations

import math
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

from siri_verl.core.seeding import derive_seed
from siri_verl.demos.alfworld.demo import DEMO
from siri_verl.demos.alfworld.generator import write_games
from siri_verl.demos.alfworld.model import make_model
from siri_verl.demos.alfworld.settings import demo_env
from siri_verl.demos.alfworld.tasks import TRAIN, WARM_START
from siri_verl.demos.warm_start.rows import make_rows
from siri_verl.demos.warm_start.sft import SftSettings, parse_arguments, run_sft

MAX_LENGTH = 400
"""Tokens of the longest row; a longer one is an error, never cut."""
GAMES_AT_A_TIME = 48
"""Fewer than the environment keeps translated: playing one again then costs next to nothing."""


@dataclass(frozen=True)
class WarmStart:
    """How much is learned, and how."""

    act: int = 800
    """Episodes; each gives a row per turn, before thinning."""
    follow: int = 2400
    describe: int = 3600
    """Trajectories; each gives one row."""
    games: int = 144
    """Throw-away games the episodes are played in: small rooms, tasks of the warm-start panel alone."""
    batch_size: int = 16
    learning_rate: float = 2e-3
    epochs: int = 1
    threads: int = 1
    seed: int = 0


def write_rows(path: Path, settings: WarmStart) -> int:
    """Write the parquet file that verl's SFT dataset reads; returns the number of rows."""
    import pandas

    wanted = {"act": settings.act, "follow": settings.follow, "describe": settings.describe}
    with tempfile.TemporaryDirectory(prefix="siri_demo_games_") as folder:
        games = Path(folder) / "games"
        write_games(games, {TRAIN: (WARM_START, settings.games)}, seed=settings.seed, rooms="small")
        env = demo_env(games)
        tasks = env.task_ids()
        parts = math.ceil(len(tasks) / GAMES_AT_A_TIME)
        rows = []
        for part in range(parts):
            share = {kind: n // parts + (part < n % parts) for kind, n in wanted.items()}
            seed = derive_seed(settings.seed, "warm-start rows", part)
            rows += make_rows(DEMO, env, tasks[part::parts], share, seed=seed)
        env.close()
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
