# SPDX-License-Identifier: Apache-2.0
"""`siri-verl plan`: what a run will need, before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from siri_verl.cli.common import Json, app, console, fail

UNKNOWN_SIZES = 3
"""Exit code; recipes/lib/gpu.sh then starts the run without a plan. Click uses 2."""


@app.command()
def plan(
    overrides: Annotated[list[str], typer.Argument(help="As for verl.trainer.main_ppo: +siri=[webshop,gpu] a.b=c ...")],
    gpu_gib: Annotated[float, typer.Option(help="Memory of one GPU.", min=1.0)] = 80.0,
    turns: Annotated[Optional[float], typer.Option(help="Mean turns per session; default: the maximum.")] = None,
    out: Annotated[Optional[Path], typer.Option(help="JSON file.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate memory per GPU, tokens and environment steps of a run. Exits 1 if the run does not fit or a setting is
    wrong, 3 if the settings are right but the model's sizes are not known."""
    from siri_verl.failures import ConfigError
    from siri_verl.files import write_text_atomically
    from siri_verl.planning.architecture import UnknownSizes
    from siri_verl.planning.compose import ComposeError, compose_run
    from siri_verl.planning.plan import TOO_BIG, plan_run
    from siri_verl.planning.report import plan_json, print_plan

    try:
        made = plan_run(compose_run(overrides), gpu_gib=gpu_gib, turns=turns)
    except UnknownSizes as error:
        fail(error)
        raise typer.Exit(UNKNOWN_SIZES) from error
    except (ConfigError, ComposeError) as error:
        raise fail(error) from error
    if as_json:
        typer.echo(plan_json(made))
    else:
        print_plan(made, console)
    if out is not None:
        write_text_atomically(out, plan_json(made) + "\n")
    if out is not None and not as_json:
        console.print(f"written: {out}", soft_wrap=True)
    if made.verdict == TOO_BIG:
        raise typer.Exit(1)
