# SPDX-License-Identifier: Apache-2.0
"""docs/results.md, published numbers: the settings of our recipes are those in the table; no row claims a run here."""

import os
import re
import shlex
import subprocess
from math import prod
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from typer.main import get_command

from siri_verl.cli import app
from siri_verl.planning.compose import compose_run

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split("## Published numbers\n")[1]


def rows_of(title):
    part = TEXT.split(f"### {title}\n")[1].split("\n### ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture(scope="module")
def configs():
    """Name of the environment -> all settings of its recipe on eight GPUs."""
    found = {}
    for name in ("alfworld", "webshop"):
        knobs = {"DRY_RUN": "1", "PRESET": "gpu", "MODEL": "7b", "GPUS": "8"}
        script = ROOT / "recipes" / f"siri_{name}.sh"
        done = subprocess.run(
            ["bash", str(script)], capture_output=True, text=True, env={**os.environ, **knobs}, timeout=60
        )
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stdout.splitlines() if "verl.trainer.main_ppo" in line]
        words = shlex.split(line)
        found[name] = compose_run(words[words.index("verl.trainer.main_ppo") + 1 :])
    return found


def test_our_settings_are_the_recipes(configs):
    rows = rows_of("Settings")
    assert len(rows) > 20
    for setting, _, alfworld, _, webshop, flags in rows:
        names = re.findall(r"`([\w.]+)`", flags)
        for environment, stated in (("alfworld", alfworld), ("webshop", webshop)):
            values = [OmegaConf.select(configs[environment], name) for name in names]
            assert None not in values, (setting, names)
            value = values[0] if len(values) == 1 else prod(values)
            assert str(value) == stated, (environment, setting)


def test_what_was_not_run_says_so():
    rows = rows_of("What is reported")
    assert len(rows) == 9 and all(row[-1] == "not run" for row in rows)


def test_commands_exist():
    commands = get_command(app).commands
    for line in re.findall(r"siri-verl ([a-z]+)([^\n]*)", TEXT.split("```bash")[1]):
        options = {option for parameter in commands[line[0]].params for option in parameter.opts}
        own = line[1].split("&&")[0]
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", own)) <= options | {"--out"}, line
