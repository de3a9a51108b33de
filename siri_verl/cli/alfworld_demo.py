# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
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
    from siri_verl.data.alfworld_demo.generator import generate

    try:
        counts = generate(
            out, games=games, validation=validation, seed=seed, rooms=rooms, check=check, overwrite=overwrite
        )
    except (ImportError, ValueError, OSError, RuntimeError) as error:
        raise fail(error) from error
    console.print(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
