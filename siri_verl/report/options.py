# SPDX-License-Identifier: Apache-2.0
"""The options of `siri-verl report`; siri_verl/evaluation/options.py describes how fields become options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


def read_label(text: str) -> tuple[str, str]:
    """`NAME=PATTERN` -> (name, pattern).

    Raises:
        ValueError: a part is missing.
    """
    name, sign, pattern = text.partition("=")
    if not (name and sign and pattern):
        raise ValueError(f"--label {text!r}: expected NAME=PATTERN, for example --label siri='siri_*'")
    return name, pattern


@dataclass(frozen=True)
class ReportOptions:
    """What the report holds.

    Raises:
        ValueError: no trajectory is allowed on the page.
    """

    labels: Sequence[tuple[str, str]] = field(default=(), metadata={"names": ("--label",), "read": read_label})
    """NAME=PATTERN: runs whose name matches belong to method NAME, whatever their settings."""
    group_by: Sequence[str] = ()
    """A setting of config.yaml that makes a method; none: all but seeds, names and places."""
    details: Sequence[str] | None = None
    """Runs shown in full, by name or pattern; none: all of up to six, else one per method."""
    trajectories: Sequence[Path] = ()
    """A further file for the trajectory browser (siri-verl eval)."""
    most_trajectories: int = field(default=400, metadata={"names": ("--max-trajectories",)})
    """Trajectories on the page."""
    title: str = ""
    """Of the page."""

    def __post_init__(self) -> None:
        if self.most_trajectories < 1:
            raise ValueError(f"--max-trajectories={self.most_trajectories}: use at least 1")
