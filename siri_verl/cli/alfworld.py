# SPDX-License-Identifier: Apache-2.0
"""`siri-verl data alfworld`: fetches and checks the official games."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import console, fail
from siri_verl.cli.data import data


@data.command("alfworld")
def data_alfworld(
    out: Annotated[Path, typer.Option(help="Folder of the games; json_2.1.1 appears in it.")],
    download: Annotated[bool, typer.Option("--download", help="Fetch what is missing first.")] = False,
    archives: Annotated[
        Optional[Path], typer.Option(help="Folder with the archives, fetched by other means; instead of --download.")
    ] = None,
) -> None:
    """Count the playable games of ALFWorld's official splits; with --download, fetch the games first."""
    from siri_verl.envs.alfworld.download import ARCHIVES, OFFICIAL_COUNTS, DownloadError
    from siri_verl.envs.alfworld.download import download as fetch
    from siri_verl.envs.alfworld.games import GameFolder

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    try:
        if archives is not None:
            fetch(
                out, archives={part: str(archives / url.rsplit("/", 1)[1]) for part, url in ARCHIVES.items()}, say=say
            )
        elif download:
            fetch(out, say=say)
        folder = GameFolder(out)
        for split in folder.splits:
            listing = folder.listing(split)
            skipped = f"; skipped: {listing.counts()}" if listing.skipped else ""
            say(f"{split}: {len(listing.games)} games (officially {OFFICIAL_COUNTS[split]}){skipped}")
    except (DownloadError, ValueError, OSError) as error:
        raise fail(error) from error
