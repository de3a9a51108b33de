# SPDX-License-Identifier: Apache-2.0
"""`siri-verl doctor` and `siri-verl check-env`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siri_verl.cli.common import Json, Settings, app, console, fail, parse_settings
from siri_verl.terminal import labelled


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the installation: versions, plugin, verl's seams, environments, devices. Exits 1 if something is wrong."""
    from siri_verl.doctor import examine, report, report_json

    findings = examine()
    if as_json:
        typer.echo(report_json(findings))
        fine = all(finding.ok is not False for finding in findings)
    else:
        fine = report(findings, console)
    if not fine:
        raise typer.Exit(1)


@app.command("check-env")
def check_env(name: str, settings: Settings = None, episodes: int = 5, max_turns: int = 50, seed: int = 0) -> None:
    """Play an environment (registered name or Gymnasium id) and report what would fail in training."""
    from siri_verl.envs.checker import EnvironmentCheckError, check_text_env
    from siri_verl.envs.registry import make_environment

    for option, value in (("--episodes", episodes), ("--max-turns", max_turns)):
        if value < 1:
            raise fail(f"{option} {value}: nothing would be played; use at least 1")
    try:
        env = make_environment(name, **parse_settings(settings))
        seen = check_text_env(env, episodes=episodes, max_turns=max_turns, seed=seed)
    except (EnvironmentCheckError, ValueError, OSError, TypeError) as error:
        raise fail(error) from error
    console.print(f"{name}: {seen.episodes} episodes, {seen.turns} turns over {seen.tasks} tasks; {seen.endings}")
    for warning in seen.warnings:
        console.print(labelled("doubt", "yellow", warning), soft_wrap=True)


@app.command("new-env")
def new_env(name: str, folder: Annotated[Path, typer.Option(help="Folder of the two files.")] = Path(".")) -> None:
    """Write a working text environment NAME.py with its test, to change into one of your own."""
    from siri_verl.envs.skeleton import class_name, write_environment

    try:
        files = write_environment(name, folder)
    except (ValueError, OSError) as error:
        raise fail(error) from error
    for path in files:
        console.print(f"written: {path}")
    console.print(
        f"next: cd {folder}; PYTHONPATH=$PWD siri-verl check-env {name}:{class_name(name)}-v0; the head of {name}.py "
        "has the commands that train on it",
        soft_wrap=True,
    )
