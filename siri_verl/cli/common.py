# SPDX-License-Identifier: Apache-2.0
"""What all commands of `siri-verl` share."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(help="SIRI for unmodified verl.", no_args_is_help=True, pretty_exceptions_enable=False)
console = Console()
if not console.is_terminal and "COLUMNS" not in os.environ:
    # A file or a pipe has no width; tables cut to 80 columns would lose their cells.
    console.width = 180

Settings = Annotated[
    Optional[list[str]], typer.Option("--set", help="A setting of the environment, as key=value; the value is JSON.")
]


def fail(message: object) -> typer.Exit:
    """Say what is wrong on standard error; to be raised."""
    Console(stderr=True).print(f"[red]error[/red] {escape(str(message))}", soft_wrap=True, highlight=False)
    return typer.Exit(1)


def parse_settings(pairs: list[str] | None) -> dict[str, Any]:
    """`["a=1", "b=text"]` -> {"a": 1, "b": "text"}.

    Raises:
        typer.BadParameter: a pair without an equals sign.
    """
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise typer.BadParameter(f"--set {pair!r}: expected key=value")
        try:
            settings[key] = json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    return settings
