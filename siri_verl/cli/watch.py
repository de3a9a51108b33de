# SPDX-License-Identifier: Apache-2.0
"""`siri-verl watch` and `siri-verl summary`: a run while it goes on, and its end in a few lines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from siri_verl.cli.common import app, console, fail


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="A run's folder, or the file of verl's file logger.")],
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show the present state and end.")] = False,
) -> None:
    """Follow a run from another terminal: success so far, phase, skills with their utilities, time left."""
    from rich.live import Live

    from siri_verl.report.live import read_live, render

    try:
        state = read_live(run)
        if once or not console.is_terminal:
            console.print(render(state))
            return
        with Live(render(state), console=console, auto_refresh=False) as screen:
            while not state.ended:
                time.sleep(every)
                state = read_live(run)
                screen.update(render(state), refresh=True)
    except KeyboardInterrupt:
        return
    except (OSError, ValueError) as error:
        raise fail(error) from error


@app.command()
def summary(run: Annotated[Path, typer.Argument(help="The run's folder.")]) -> None:
    """The end of a run in at most 15 lines: success, worth of the skills, files, the page to open."""
    from siri_verl.report.reader import read_run
    from siri_verl.report.summary import summary_lines

    try:
        lines = summary_lines(read_run(run))
    except (OSError, ValueError) as error:
        raise fail(error) from error
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
