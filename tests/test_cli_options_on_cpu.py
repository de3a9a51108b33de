# SPDX-License-Identifier: Apache-2.0
"""Options of a command that are made from a dataclass."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from siri_verl.cli.common import options
from siri_verl.failures import check_field


@dataclass(frozen=True)
class Wanted:
    """Of the command below."""

    model: str = field(metadata={"argument": True})
    """Its folder."""
    panel: Path
    """A file."""
    repeats: int = field(default=1, metadata={"names": ("--repeats", "-n")})
    """How often."""
    top_p: float | None = None
    all_tasks: bool = False
    """Every one."""
    skills: tuple[str, ...] = field(default=(), metadata={"names": ("--skill",)})
    """One of them."""
    labels: Sequence[tuple[str, str]] = field(
        default=(), metadata={"names": ("--label",), "read": lambda text: tuple(text.split("="))}
    )
    details: Sequence[str] | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict, metadata={"names": ("--set",)})
    level: float = field(default=0.95, metadata={"hidden": True})

    def __post_init__(self):
        check_field(self, "repeats", self.repeats >= 1, "use at least 1")


@pytest.fixture
def command():
    app, seen = typer.Typer(), []

    @app.command()
    @options(Wanted)
    def play(wanted: Wanted, out: Path = Path("here")):
        """Play."""
        seen.append((wanted, out))

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        return result.exit_code, result.output, seen[-1] if seen else None

    run.app = app
    return run


def test_defaults_are_those_of_the_dataclass(command):
    assert command("m", "--panel", "p.json")[2] == (Wanted("m", Path("p.json")), Path("here"))


def test_every_kind_of_value_arrives(command):
    words = ["m", "--panel", "p", "-n", 3, "--top-p", 0.5, "--all-tasks", "--skill", "a", "--skill", "b"]
    words += ["--label", "x=y", "--details", "r", "--set", "turns=4", "--set", "name=b c", "--out", "there"]
    code, _, (wanted, out) = command(*words)
    assert code == 0
    assert out == Path("there")
    assert wanted == Wanted(
        "m", Path("p"), 3, 0.5, True, ("a", "b"), (("x", "y"),), ("r",), {"turns": 4, "name": "b c"}
    )


def test_help_texts_are_the_strings_under_the_fields(command):
    parameters = {parameter.name: parameter for parameter in get_command(command.app).params}
    assert "level" not in parameters
    assert parameters["repeats"].opts == ["--repeats", "-n"]
    assert parameters["repeats"].help == "How often."
    assert parameters["top_p"].help is None
    assert parameters["all_tasks"].secondary_opts == []
    assert parameters["panel"].required and not parameters["skills"].required


def test_what_the_dataclass_refuses_ends_the_command(command):
    code, output, seen = command("m", "--panel", "p", "-n", 0)
    assert (code, seen) == (1, None)
    assert "repeats=0: use at least 1" in output
    assert command("m")[0] == 2
    assert command("m", "--panel", "p", "--set", "turns")[0] == 2


def test_the_command_line_starts_without_heavy_imports():
    heavy = "{'torch', 'verl', 'ray', 'numpy', 'omegaconf', 'pyarrow', 'matplotlib'}"
    command = f"import sys, siri_verl.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
