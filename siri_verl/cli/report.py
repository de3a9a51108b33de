# SPDX-License-Identifier: Apache-2.0
"""`siri-verl report`: one page about one or more runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import app, console, fail


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders (trainer.default_local_dir).")],
    out: Annotated[Optional[Path], typer.Option(help="Folder of page and pictures; none: report/ in the run.")] = None,
    label: Annotated[
        Optional[list[str]],
        typer.Option(help="NAME=PATTERN: runs whose name matches belong to method NAME, whatever their settings."),
    ] = None,
    group_by: Annotated[
        Optional[list[str]],
        typer.Option(help="A setting of config.yaml that makes a method; none: all but seeds, names and places."),
    ] = None,
    details: Annotated[
        Optional[list[str]],
        typer.Option(help="Runs shown in full, by name or pattern; none: all of up to six, else one per method."),
    ] = None,
    trajectories: Annotated[
        Optional[list[Path]], typer.Option(help="A further file for the trajectory browser (siri-verl eval).")
    ] = None,
    max_trajectories: Annotated[int, typer.Option(help="Trajectories on the page.")] = 400,
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
) -> None:
    """Write one self-contained HTML page, and PNG pictures, about one or more runs."""
    from siri_verl.report import ReportOptions, write_report
    from siri_verl.runs.folder import RunFolder

    if out is None and len(runs) > 1:
        raise fail("--out: not given; with several runs, name a folder for the report")
    try:
        options = ReportOptions(
            labels=[_label(text) for text in label or []],
            group_by=tuple(group_by or ()),
            details=details or None,
            trajectories=tuple(trajectories or ()),
            most_trajectories=max_trajectories,
            title=title,
        )
        page = write_report(runs, out or RunFolder(runs[0]).report, options, console.print)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    console.print(f"page: {page} ({page.stat().st_size / 1e6:.1f} MB), pictures beside it", soft_wrap=True)


def _label(text: str) -> tuple[str, str]:
    name, sign, pattern = text.partition("=")
    if not (name and sign and pattern):
        raise ValueError(f"--label {text!r}: expected NAME=PATTERN, for example --label siri='siri_*'")
    return name, pattern
