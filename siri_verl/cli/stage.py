# SPDX-License-Identifier: Apache-2.0
"""`siri-verl stage`: how the recipes run their commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import app, console


@app.command(hidden=True, context_settings={"allow_interspersed_args": False})
def stage(
    command: Annotated[list[str], typer.Argument(help="What to run, after `--`.")],
    title: Annotated[str, typer.Option(help="Shown beside its progress.")],
    log: Annotated[Path, typer.Option(help="The whole output is appended to it.")],
    run: Annotated[Optional[Path], typer.Option(help="Folder of the run that the command trains.")] = None,
    rerun: Annotated[str, typer.Option(help="The command line that goes on after an interrupt.")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the whole output too.")] = False,
) -> None:
    """Run a command with its output in a log and its progress on the screen; its exit code is kept."""
    from siri_verl.stage.run import Stage, run_stage

    raise typer.Exit(run_stage(Stage(title, command, log, run, rerun, verbose), console))
