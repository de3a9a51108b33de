# SPDX-License-Identifier: Apache-2.0
"""The demo's settings that must agree between warm start, training and evaluation."""

from __future__ import annotations

from pathlib import Path

from siri_verl.demos.webshop.layouts import PER_PAGE
from siri_verl.envs.webshop.env import WebShopEnv

MAX_TURNS = 8
HISTORY_LENGTH = 3
"""Earlier actions a prompt shows: enough for the longest detour of a procedure."""
FULL_HISTORY_LENGTH = 2
"""Earlier turns that a prompt for instruction-tuned models shows: enough to see that the features were looked at."""
FULL_MAX_TURNS = 5
"""Turns of an episode with full prompts: enough to choose both options, or to look at the features of one item."""

ENV_KWARGS = {"text": "compact", "results_per_page": PER_PAGE, "max_turns": MAX_TURNS}


def demo_env(catalogue: Path | str, split: str | None = None, max_turns: int = MAX_TURNS) -> WebShopEnv:
    """The demo environment over a folder written by `generate`."""
    return WebShopEnv(Path(catalogue) / "store", split, **ENV_KWARGS | {"max_turns": max_turns})
