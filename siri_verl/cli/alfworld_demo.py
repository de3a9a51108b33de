# SPDX-License-Identifier: Apache-2.0
"""`siri-verl data alfworld-demo`: ALFWorld games made from the installed package's floor plans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siri_verl.cli.common import console, fail
from siri_verl.cli.data import data


@data.command("alfworld-demo")
def data_alfworld_demo(
    out: Annotated[Path, typer.Option(help="Folder of the games.")],
    games: Annotated[int, typer.Option(help="Games to train on.")] = 300,
    validation: Annotated[int, typer.Option(help="Games of each validation panel: seen and unseen rooms.")] = 60,
    seed: int = 0,
    rooms: Annotated[str, typer.Option(help="full, or small for the small CPU model.")] = "full",
    check: Annotated[bool, typer.Option(help="Win every game through the real package first.")] = True,
    overwrite: bool = False,
) -> None:
    """Make ALFWorld games in the official layout, without a download: all six task types, seen and unseen rooms."""
    from siri_verl.demos.alfworld.generator import generate

    try:
        counts = generate(
            out, games=games, validation=validation, seed=seed, rooms=rooms, check=check, overwrite=overwrite
        )
    except (ImportError, ValueError, OSError, RuntimeError) as error:
        raise fail(error) from error
    console.print(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
