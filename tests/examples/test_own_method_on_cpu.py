# SPDX-License-Identifier: Apache-2.0
"""The example method: its three parts decide what they say, and its command composes with them."""

import os
import subprocess

import numpy as np
import pytest
import torch
from support.example_runs import EXAMPLES
from support.recipe_commands import training_overrides
from support.synthetic_run import Story, make_run, play, run_settings

from siri_verl.core.decisions import DecisionBook
from siri_verl.core.internalization import InternalizationSettings
from siri_verl.core.phases import INTERNALIZATION, PhaseSettings
from siri_verl.core.rules import ACTIVE, RETIRED, UtilitySettings
from siri_verl.core.token_teacher import token_weights
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.settings import check_settings

FOLDER = EXAMPLES / "own_method"
RULE = UtilitySettings(decision="my_method:sign_rule", n_eval=3)


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_it_is_short():
    assert len((FOLDER / "my_method.py").read_text().splitlines()) <= 45


def test_the_token_weight():
    student = torch.log(torch.tensor([[0.4, 0.2, 0.1]], dtype=torch.float64))
    teacher = torch.log(torch.tensor([[0.5, 0.4, 0.9]], dtype=torch.float64))
    settings = InternalizationSettings(token_weight="my_method:doubled")
    assert token_weights(settings, student, teacher).tolist() == [[0.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    "deltas, after", [([0.5, 0.5, 0.0], ACTIVE), ([0.5, 0.0, 0.0], None), ([0.5, -0.5, -0.5], RETIRED), ([1, 1], None)]
)
def test_the_life_cycle_rule(deltas, after):
    book = DecisionBook(RULE)
    book.add("s1", "t")
    decisions = [book.record("s1", delta, k) for k, delta in enumerate(deltas)]
    assert (decisions[-1].after if decisions[-1] else None) == after
    assert not any(decisions[:-1])
    if after:
        assert decisions[-1].rule == "my_method:sign_rule"


def test_the_gate_in_a_run():
    term = InternalizationSettings(source="my_method:solved_and_rare")
    run = make_run(run_settings(phases=PhaseSettings(fixed=INTERNALIZATION), utility=RULE, internalization=term))
    now = play(run, range(1, 9), Story())
    table = now.table
    advantage = np.ones(len(table))
    is_open, _ = run.internalization_weights(table, now.effects, advantage, "mean", 9)
    rare = np.array([now.effects[group].plain_mean <= 0.5 for group in table.group.tolist()])
    assert np.array_equal(is_open, (table.arm == "skill") & table.success & rare) and is_open.any()


def test_its_command_composes(tmp_path):
    environment = {**os.environ, "DRY_RUN": "1", "PRESET": "cpu", "RUN_DIR": str(tmp_path)}
    command = ["bash", str(FOLDER / "run.sh"), "siri.seed=3"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    config = compose_run(training_overrides(done.stdout))
    settings = siri_settings(config)
    check_settings(config, settings)
    assert (settings.method, settings.seed) == ("my_method", 3)
    assert settings.internalization.source == "my_method:solved_and_rare"


@pytest.mark.parametrize(
    "setting, says",
    [
        ("siri.internalization.source=my_method:no_gate", "cannot be imported"),
        ("siri.utility.decision=my_method.sign_rule", "use ema, sequential, or a path package.module:function"),
    ],
)
def test_a_part_that_is_not_there_is_refused_before_anything_starts(setting, says):
    with pytest.raises(ValueError, match=says):
        config = compose_run(["+siri=[webshop,gpu]", "siri.environment.kwargs.store=/s", setting])
        check_settings(config, siri_settings(config))
