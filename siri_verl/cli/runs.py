# SPDX-License-Identifier: Apache-2.0
"""`siri-verl curve` and `siri-verl story`: pictures and text of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import RUNS, Overwrite, app, console, fail


@app.command()
def curve(
    runs: Annotated[list[Path], typer.Argument(help=RUNS)],
    out: Annotated[Optional[Path], typer.Option(help="PNG file; default: learning_curve.png in the run.")] = None,
) -> None:
    """Draw the learning curve of one or more run folders and print it as a table."""
    from siri_verl.report.curve import read_curve
    from siri_verl.report.curve_pictures import draw_curve
    from siri_verl.report.reader import read_runs
    from siri_verl.report.tables import curve_table
    from siri_verl.runs.folder import RunFolder

    if out is None and len(runs) > 1:
        raise fail("--out: not given; with several runs, name a PNG file for the picture")
    target = out or (runs[0].with_suffix(".png") if runs[0].is_file() else RunFolder(runs[0]).learning_curve)
    try:
        for run in runs:
            read_curve(run)  # names the file that has none
        found = read_runs(runs)
        draw_curve(found, target)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    for each in found:
        console.print(curve_table(each))
    console.print(f"picture: {target}", soft_wrap=True)


@app.command()
def story(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    out: Annotated[Optional[Path], typer.Option(help="Folder; default: story/ in the run.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Describe a run in text and pictures: which skills were mined, tested, promoted, retired, when and why, and what
    they changed."""
    from rich.markdown import Markdown

    from siri_verl.outputs import check_free
    from siri_verl.report.build import STORY, write_story
    from siri_verl.report.reader import read_run
    from siri_verl.report.words import describe
    from siri_verl.runs.folder import RunFolder

    try:
        if out is not None:
            check_free(out, "a story", parts=(STORY, "*.png"), mark=STORY, overwrite=overwrite)
        found = read_run(run)
        files = write_story(found, out or RunFolder(run).story)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    console.print(Markdown(describe(found)))
    for path in files:
        console.print(f"written: {path}", soft_wrap=True)
