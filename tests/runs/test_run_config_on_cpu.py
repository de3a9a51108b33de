# SPDX-License-Identifier: Apache-2.0
"""A run's settings on disk."""

import copy

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.settings.read import siri_settings
from siri_verl.runs.config import TRACKER, check_resumed, load_config, save_config


@pytest.fixture(scope="module")
def config():
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=["+siri=[base,cpu,cpu_small]", "siri.seed=7"])


def test_what_was_written_is_read_with_nothing_left_to_resolve(config, tmp_path):
    save_config(config, tmp_path / "run")
    again = load_config(tmp_path / "run")
    assert siri_settings(again) == siri_settings(config) and siri_settings(again).seed == 7
    assert again.data.seed == 7, "an interpolation"
    assert OmegaConf.to_container(again, resolve=False) == OmegaConf.to_container(config, resolve=True)


def test_settings_that_have_changed_since(config, tmp_path):
    save_config(config, tmp_path)
    changed = load_config(tmp_path, ["siri.environment.kwargs.split=train", "data.max_prompt_length=99"])
    assert siri_settings(changed).environment.kwargs == {"split": "train"} and changed.data.max_prompt_length == 99
    with pytest.raises(ValueError, match="override 'siri.seed': expected key.path=value"):
        load_config(tmp_path, ["siri.seed"])


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.yaml.*default_local_dir"):
        load_config(tmp_path)


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
    (tmp_path / TRACKER).write_text("5")
    check_resumed(config)
    assert not caplog.records
    with pytest.raises(ConfigError, match=f"{name}={value!r}: .*holds checkpoints of a run with .*resume_mode=disable"):
        check_resumed(changed)
    changed.trainer.resume_mode = "disable"
    check_resumed(changed)


def test_other_changes_are_told(config, tmp_path, caplog):
    config = copy.deepcopy(config)
    config.trainer.default_local_dir = str(tmp_path)
    save_config(config, tmp_path)
    (tmp_path / TRACKER).write_text("5")
    config.trainer.total_training_steps = 77
    check_resumed(config)
    assert "trainer.total_training_steps: 40 -> 77" in caplog.text
