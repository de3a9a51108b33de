# SPDX-License-Identifier: Apache-2.0
"""`siri-verl new-env`: what it writes works as it stands, and nothing is overwritten."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.panels import check_panels
from siri_verl.training.preflight.settings import check_settings


def new_env(*words, code=0):
    done = CliRunner().invoke(app, ["new-env", *map(str, words)])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_the_skeleton_passes_its_test_and_the_checker(tmp_path):
    said = new_env("my_shop", "--folder", tmp_path)
    assert "check-env my_shop:MyShop-v0" in said
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    for command in (
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_shop.py"],
        [sys.executable, "-m", "siri_verl", "check-env", "my_shop:MyShop-v0"],
    ):
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_commands_write_panels_that_a_run_accepts(tmp_path, monkeypatch):
    new_env("my_hall", "--folder", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = (tmp_path / "my_hall.py").read_text().replace("\\\n", " ").replace("$PWD", str(tmp_path))
    panel, run = (shlex.split(re.search(pattern, text)[1]) for pattern in ("siri-verl (data .*)", "main_ppo (.*)"))
    panel[panel.index("--out") + 1] = str(tmp_path / "panels/all.parquet")
    assert CliRunner().invoke(app, panel).exit_code == 0
    config = compose_run(run)
    check_settings(config, siri_settings(config))
    panels = check_panels(config, "my_hall:MyHall-v0")
    assert [len(panel.task_ids) for panel in panels.values()] == [20, 4]


@pytest.mark.parametrize("present", ["my_shop.py", "test_my_shop.py"])
def test_a_file_in_the_way_is_kept(tmp_path, present):
    (tmp_path / present).write_text("mine")
    assert present in new_env("my_shop", "--folder", tmp_path, code=1)
    assert (tmp_path / present).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["my-shop", "class", "MyShop", "1shop", "a.b"])
def test_a_name_that_is_no_module_is_refused(tmp_path, name):
    assert f"new-env {name!r}: use a module name" in new_env(name, "--folder", tmp_path, code=1)
