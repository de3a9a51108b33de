# SPDX-License-Identifier: Apache-2.0
"""The demo's settings that must agree between warm start, training and evaluation."""

from __future__ import annotations

from pathlib import Path

from siri_verl.envs.alfworld.env import ALFWorldEnv

MAX_TURNS = 12
HISTORY_LENGTH = 12
"""Earlier actions a prompt shows: all of them, so that it shows which places were visited."""
TEMPLATE = "compact_actions"
"""Name of the prompt template."""


def demo_env(games: Path | str, split: str | None = None) -> ALFWorldEnv:
    """The environment over a folder written by `generate`, as the demo plays it."""
    return ALFWorldEnv(str(games), split, max_turns=MAX_TURNS)
