# SPDX-License-Identifier: Apache-2.0
"""The warm start: rows of the three neutral abilities, and verl's own SFT trainer on them.

    python -m siri_verl.demos.alfworld.warm_start --out DIR

Writes `rows.parquet`, `initial/` (the untrained model), `checkpoints/` (verl's) and `model/`, the Hugging Face folder
that reinforcement learning starts from. `--model FOLDER` trains a pretrained model, on few rows with full prompts.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from siri_verl.core.seeding import derive_seed
from siri_verl.demos.alfworld.demo import DEMO
from siri_verl.demos.alfworld.generator import write_games
from siri_verl.demos.alfworld.model import make_model
from siri_verl.demos.alfworld.settings import demo_env
from siri_verl.demos.alfworld.tasks import TRAIN
from siri_verl.demos.alfworld.tasks import WARM_START as WARM_START_PANEL
from siri_verl.demos.warm_start.rows import Row, make_rows
from siri_verl.demos.warm_start.sft import WarmStart, WarmStartSettings

GAMES_AT_A_TIME = 48
"""Fewer than the environment keeps translated: playing one again then costs next to nothing."""


@dataclass(frozen=True)
class AlfworldWarmStartSettings(WarmStartSettings):
    """The demo's defaults."""

    act: int = 800
    follow: int = 2400
    describe: int = 3600
    batch_size: int = 16
    learning_rate: float = 2e-3
    games: int = 144
    """Games the episodes are played in and that are deleted afterwards: small rooms, tasks of the warm-start panel."""


def rows_of(settings: AlfworldWarmStartSettings) -> list[Row]:
    """Rows of games that are made for this and deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="siri_demo_games_") as folder:
        games = Path(folder) / "games"
        write_games(games, {TRAIN: (WARM_START_PANEL, settings.games)}, seed=settings.seed, rooms="small")
        env = demo_env(games)
        tasks = env.task_ids()
        demo = DEMO.with_full_prompts() if settings.model else DEMO
        parts = math.ceil(len(tasks) / GAMES_AT_A_TIME)
        rows: list[Row] = []
        for part in range(parts):
            seed = derive_seed(settings.seed, "warm-start rows", part)
            rows += make_rows(demo, env, tasks[part::parts], settings.episodes(part, parts), seed=seed)
        env.close()
    return rows


PRETRAINED = {"act": 12, "follow": 16, "describe": 32, "games": 36}
PRETRAINED |= {"batch_size": 8, "learning_rate": 2e-4, "threads": 2, "micro_batch_tokens": 2048}

WARM_START = WarmStart(400, rows_of, make_model, PRETRAINED)

if __name__ == "__main__":
    WARM_START.main(__doc__, AlfworldWarmStartSettings())
