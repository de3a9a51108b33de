# SPDX-License-Identifier: Apache-2.0
"""A run that resumes from checkpoints of a run with other settings."""

import copy

import pytest
from omegaconf import OmegaConf
from support.configs import toy_config

from siri_verl.failures import ConfigError
from siri_verl.runs.config import save_config
from siri_verl.runs.folder import RunFolder
from siri_verl.training.preflight.resumed import check_resumed


@pytest.fixture(scope="module")
def config():
    return toy_config("siri.seed=7")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("siri.seed", 8),
        ("siri.phases.fixed", "mining"),
        ("algorithm.adv_estimator", "grpo"),
        ("actor_rollout_ref.model.path", "another"),
    ],
)
def test_another_run_does_not_go_on_from_a_folders_checkpoints(config, tmp_path, name, value, caplog):
    changed = copy.deepcopy(config)
    for given in (config, changed):
        OmegaConf.update(given, "trainer.default_local_dir", str(tmp_path))
    OmegaConf.update(changed, name, value)
    save_config(config, tmp_path)
    check_resumed(changed)  # no checkpoint yet
    RunFolder(tmp_path).tracker.write_text("5")
    check_resumed(config)
    assert not caplog.records
    with pytest.raises(ConfigError, match=f"{name}={value!r}: .*holds checkpoints of a run with .*resume_mode=disable"):
        check_resumed(changed)
    changed.trainer.resume_mode = "disable"
    check_resumed(changed)


def test_other_changes_are_logged(config, tmp_path, caplog):
    config = copy.deepcopy(config)
    config.trainer.default_local_dir = str(tmp_path)
    save_config(config, tmp_path)
    RunFolder(tmp_path).tracker.write_text("5")
    config.trainer.total_training_steps = 77
    check_resumed(config)
    assert "trainer.total_training_steps: 40 -> 77" in caplog.text


@pytest.mark.parametrize("written", ["{}/", "{}/../model", "{}/."])
def test_the_same_model_folder_may_be_written_otherwise(config, tmp_path, written):
    config = copy.deepcopy(config)
    (tmp_path / "model").mkdir()
    config.trainer.default_local_dir = str(tmp_path)
    config.actor_rollout_ref.model.path = str(tmp_path / "model")
    save_config(config, tmp_path)
    RunFolder(tmp_path).tracker.write_text("5")
    config.actor_rollout_ref.model.path = written.format(tmp_path / "model")
    check_resumed(config)
