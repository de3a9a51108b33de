# SPDX-License-Identifier: Apache-2.0
"""Reads what a dry run of a recipe prints: commands as a shell reads them, and comments."""

from __future__ import annotations

import shlex


def commands(printed: str) -> list[list[str]]:
    """The words of each command."""
    return [shlex.split(line) for line in printed.splitlines() if line and not line.startswith("#")]


def training_overrides(printed: str) -> list[str]:
    """The words after verl's entry point."""
    (found,) = (words for words in commands(printed) if "verl.trainer.main_ppo" in words)
    place = found.index("verl.trainer.main_ppo")
    assert found[place - 1] == "-m"
    return found[place + 1 :]
