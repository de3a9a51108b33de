# SPDX-License-Identifier: Apache-2.0
"""A run's settings on disk."""

import pytest
from omegaconf import OmegaConf
from support.configs import toy_config

from siri_verl.runs.config import load_config, save_config
from siri_verl.settings.read import siri_settings


@pytest.fixture(scope="module")
def config():
    return toy_config("siri.seed=7")


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
