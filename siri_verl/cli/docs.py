# SPDX-License-Identifier: Apache-2.0
"""`siri-verl docs`: the pages that are made from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siri_verl.cli.common import app, console, fail


@app.command()
def docs(
    out: Annotated[Path, typer.Option(help="Folder of the documentation.")] = Path("docs"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when the page is stale.")] = False,
) -> None:
    """Write the configuration reference from the typed settings."""
    from siri_verl.files import write_text_atomically
    from siri_verl.settings.reference import reference

    page, text = out / "configuration.md", reference()
    if check:
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            raise fail(f"{page} is stale: run `siri-verl docs`")
        return
    if not out.is_dir():
        raise fail(f"--out {out}: no such folder")
    if page.exists() and page.read_text(encoding="utf-8").splitlines()[:3] != text.splitlines()[:3]:
        raise fail(f"{page}: exists already and was not made by `siri-verl docs`; name another folder")
    write_text_atomically(page, text)
    console.print(f"written: {page}", soft_wrap=True)
