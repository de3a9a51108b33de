# SPDX-License-Identifier: Apache-2.0
"""Checks that need the configuration alone: no file, no environment, no cluster. `siri-verl plan` makes them too."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.settings.read import gigpo_settings
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.estimator import check_estimator
from siri_verl.training.preflight.skills import check_skills

GROUP_FREE = ("gae", "reinforce_plus_plus")
"""Estimators that do not compare the trajectories of a task."""


def check_settings(config: DictConfig, settings: SiriSettings | None) -> None:
    """Check the settings of a run.

    Args:
        config: verl's configuration.
        settings: its `siri:` block; None for a run on one of verl's own trainers.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    if settings is None:
        if config.algorithm.adv_estimator == "gigpo":
            gigpo_settings(config.algorithm)
        return
    check_algorithm(config)
    check_request_seeds(config, settings)
    check_budget(config, settings)
    check_skills(config, settings)


def check_algorithm(config: DictConfig) -> None:
    """The estimator is defined over turns, groups are large enough, and rewards reach the estimator."""
    name = config.algorithm.adv_estimator
    check_estimator(name)
    gigpo_settings(config.algorithm)
    size = config.actor_rollout_ref.rollout.n
    if size < 2 and name not in GROUP_FREE:
        raise ConfigError(
            f"actor_rollout_ref.rollout.n={size}: {name} compares the trajectories of one task; use at least 2"
        )
    if config.algorithm.use_kl_in_reward and name != "gae":
        raise ConfigError(
            f"algorithm.use_kl_in_reward=True: {name} takes its rewards from the environment's turns, so a KL term in "
            "token rewards would be lost; use algorithm.use_kl_in_reward=False actor_rollout_ref.actor.use_kl_loss=True"
        )


def check_budget(config: DictConfig, settings: SiriSettings) -> None:
    """All environment steps are counted before groups are dropped."""
    if settings.budget.env_steps is not None and OmegaConf.select(config, "algorithm.filter_groups.enable"):
        raise ConfigError(
            f"siri.budget.env_steps={settings.budget.env_steps}: algorithm.filter_groups.enable=True drops groups "
            "before their environment steps are counted; set it to False, or the budget to null"
        )


def check_request_seeds(config: DictConfig, settings: SiriSettings) -> None:
    """The rollout engine takes a seed with each request."""
    if settings.rollout.request_seeds and config.actor_rollout_ref.rollout.name == "sglang":
        raise ConfigError(
            "siri.rollout.request_seeds=True: SGLang takes no parameter `seed` with a request; set it to False, as the "
            "group `sglang` does"
        )
