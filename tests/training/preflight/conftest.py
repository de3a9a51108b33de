# SPDX-License-Identifier: Apache-2.0
"""A toy run's inputs, and its checks with some settings changed."""

import pytest
from omegaconf import OmegaConf
from support.tiny_model import write_toy_inputs

from siri_verl.failures import ConfigError
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.run import preflight


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_toy_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def toy_config(inputs):
    """`toy_config(*overrides)`: the toy run's configuration."""
    given = [
        "+siri=[base,cpu,cpu_small]",
        f"data.train_files={inputs}/train.parquet",
        f"data.val_files={inputs}/validation.parquet",
        f"actor_rollout_ref.model.path={inputs}/model",
        "data.max_prompt_length=512",
    ]
    base = compose_run(given)
    OmegaConf.set_struct(base, False)

    def make(*overrides):
        return OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides)))

    return make


@pytest.fixture(scope="module")
def check(toy_config):
    """`check(*overrides)` runs the checks on the toy run's configuration with some values changed."""

    def run(*overrides):
        config = toy_config(*overrides)
        preflight(config, siri_settings(config))

    return run


@pytest.fixture
def refused(check):
    """`refused(*overrides)`: the error's text."""

    def run(*overrides):
        with pytest.raises(ConfigError) as error:
            check(*overrides)
        return str(error.value)

    return run
