# SPDX-License-Identifier: Apache-2.0
"""docs/paper_index.md names only what exists, with the values in force."""

import importlib
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from siri_verl.planning.compose import compose_run

TEXT = (Path(__file__).parents[2] / "docs" / "paper_index.md").read_text(encoding="utf-8")
BODY = TEXT[TEXT.index("\n## ") :]
FUNCTIONS = sorted(set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)*:[\w.]+)`", BODY)))
SETTINGS = sorted(set(re.findall(r"`((?:siri|algorithm|actor_rollout_ref|data|trainer)\.[\w.]+)(?:=([^`]*))?`", TEXT)))


@pytest.fixture(scope="module")
def config():
    return compose_run(["+siri=[webshop,gpu]", "siri.environment.kwargs.store=none"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_exist(name):
    module, _, path = name.partition(":")
    found = importlib.import_module(f"siri_verl.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    assert callable(found)


def test_settings_exist_and_have_the_values_stated(config):
    assert len(SETTINGS) > 40
    for name, value in SETTINGS:
        parent, _, last = name.rpartition(".")
        block = OmegaConf.select(config, parent)
        assert block is not None and last in block, name
        if value:
            assert str(block[last]).lower() == value.lower(), name


def test_every_rule_is_marked_and_placed():
    assert len(FUNCTIONS) > 35
    rows = [line for line in TEXT.splitlines() if line.startswith("|") and not re.match(r"^\|[-|]+\|$", line)]
    rules = [row.strip("|").split("|") for row in rows if "| mark |" not in row]
    assert len(rules) > 50
    for cells in rules:
        assert len(cells) == 4, cells
        rule, mark, function, setting = (cell.strip() for cell in cells)
        assert mark in ("[paper]", "[verl-agent]", "[code]", "[default]"), rule
        assert function in ("verl's policy loss",) or set(re.findall(r"`([^`]+)`", function)) & set(FUNCTIONS), rule
    for name in re.findall(r"`(benchmarks/\w+|docs/\w+\.md)`", TEXT):
        assert (Path(__file__).parents[2] / name).exists(), name
