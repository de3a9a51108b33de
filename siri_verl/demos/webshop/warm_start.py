# SPDX-License-Identifier: Apache-2.0
"""The warm start: rows of the three neutral abilities, and verl's own SFT trainer on them.

    python -m siri_verl.demos.webshop.warm_start --out DIR

Writes `rows.parquet`, `initial/` (the untrained model), `checkpoints/` (verl's) and `model/`, the Hugging Face folder
that reinforcement learning starts from. `--model FOLDER` trains a pretrained model, on few rows with full prompts.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from siri_verl.core.seeding import derive_seed
from siri_verl.demos.warm_start.rows import Row, make_rows
from siri_verl.demos.warm_start.sft import WarmStart, WarmStartSettings
from siri_verl.demos.webshop.demo import DEMO
from siri_verl.demos.webshop.generator import WARM_START_SPLIT, generate
from siri_verl.demos.webshop.model import make_model
from siri_verl.demos.webshop.settings import FULL_MAX_TURNS, MAX_TURNS, demo_env


@dataclass(frozen=True)
class WebShopWarmStartSettings(WarmStartSettings):
    """The demo's defaults."""

    act: int = 5000
    follow: int = 7500
    describe: int = 4000
    batch_size: int = 32
    learning_rate: float = 2.5e-3
    shops: int = 50
    """Catalogues the episodes are played in and that are deleted afterwards."""


def rows_of(settings: WebShopWarmStartSettings) -> list[Row]:
    """Rows of `settings.shops` shops that are made for this and deleted afterwards.

    With the products of a single shop the model would memorize its ASINs instead of learning to copy what a page shows.
    The shops hold only families of the warm-start panel and are not part of the catalogue of reinforcement learning.
    """
    demo = DEMO.with_full_prompts() if settings.model else DEMO
    rows: list[Row] = []
    for shop in range(settings.shops):
        with tempfile.TemporaryDirectory(prefix="siri_demo_shop_") as folder:
            generate(folder, seed=derive_seed(settings.seed, "warm-start shop", shop), panels=("warm_start",))
            env = demo_env(folder, max_turns=FULL_MAX_TURNS if settings.model else MAX_TURNS)
            tasks = env.catalog.split(WARM_START_SPLIT).train
            seed = derive_seed(settings.seed, "warm-start rows", shop)
            rows += make_rows(demo, env, tasks, settings.episodes(shop, settings.shops), seed=seed)
    return rows


PRETRAINED = {"act": 22, "follow": 24, "describe": 24, "shops": 1}
PRETRAINED |= {"batch_size": 8, "learning_rate": 2e-4, "threads": 2, "micro_batch_tokens": 1024}

WARM_START = WarmStart(320, rows_of, make_model, PRETRAINED)

if __name__ == "__main__":
    WARM_START.main(__doc__, WebShopWarmStartSettings())
