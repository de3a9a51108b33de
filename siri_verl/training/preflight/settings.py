# SPDX-License-Identifier: Apache-2.0
"""Checks that need the configuration alone: no file, no environment, no cluster. `siri-verl plan` makes them too."""

from __future__ import annotations

from omegaconf import DictConfig

from siri_verl.failures import ConfigError
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.preflight.algorithm import check_algorithm, check_one_flag
from siri_verl.training.preflight.limits import check_budget, check_lengths, check_turns
from siri_verl.training.preflight.skills import check_skills
from siri_verl.training.preflight.start import check_start


def check_settings(config: DictConfig, settings: SiriSettings | None) -> None:
    """Check the settings of a run.

    Args:
        config: verl's configuration.
        settings: its `siri:` block; None for a run on one of verl's own trainers.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    if settings is None:
        check_one_flag(config)
        check_lengths(config)
        check_start(config)
        return
    check_algorithm(config)
    check_lengths(config)
    check_start(config)
    check_request_seeds(config, settings)
    check_budget(config, settings)
    check_turns(settings)
    check_skills(config, settings)


def check_request_seeds(config: DictConfig, settings: SiriSettings) -> None:
    """The rollout engine takes a seed with each request."""
    if settings.rollout.request_seeds and config.actor_rollout_ref.rollout.name == "sglang":
        raise ConfigError(
            "siri.rollout.request_seeds=True: SGLang takes no parameter `seed` with a request; set it to False, as the "
            "group `sglang` does"
        )
