# SPDX-License-Identifier: Apache-2.0
"""`siri-verl report`: one page about one or more runs, with their text and their learning curve beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import RUNS, Overwrite, app, console, fail, options
from siri_verl.report.options import ReportOptions


@app.command()
@options(ReportOptions)
def report(
    runs: Annotated[list[Path], typer.Argument(help=RUNS)],
    asked: ReportOptions,
    out: Annotated[Optional[Path], typer.Option(help="Folder; default: report/ in the run.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write one self-contained HTML page about one or more runs; PNG pictures, text and learning curve beside it."""
    from siri_verl.outputs import check_free
    from siri_verl.report.build import CURVE, PAGE, PICTURES, STORY, write_report
    from siri_verl.runs.folder import RunFolder

    if out is None and len(runs) > 1:
        raise fail("--out: not given; with several runs, name a folder for the report")
    try:
        if out is not None:
            check_free(out, "a report", parts=(PAGE, PICTURES, STORY, CURVE), mark=PAGE, overwrite=overwrite)
        first = runs[0]
        beside = first.with_name(f"{first.stem}_report") if first.is_file() else RunFolder(first).report
        page = write_report(runs, out or beside, asked, console.print)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    size = page.stat().st_size / 1e6
    console.print(f"page: {page} ({size:.1f} MB); pictures, text and learning curve beside it", soft_wrap=True)
