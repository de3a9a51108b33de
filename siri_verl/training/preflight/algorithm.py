# SPDX-License-Identifier: Apache-2.0
"""Checks of the estimator's settings, the same in the siri trainer, in `siri-verl plan` and in verl's own modes."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.settings.read import gigpo_settings
from siri_verl.training.estimator import check_estimator

GROUP_FREE = ("gae", "reinforce_plus_plus")
"""Estimators that do not compare the trajectories of a task."""

VERLS_GAMMA = 1.0
"""Default of algorithm.gamma (verl/trainer/config/ppo_trainer.yaml)."""


def check_algorithm(config: DictConfig) -> None:
    """The estimator is defined over turns, and its settings take effect.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    name = config.algorithm.adv_estimator
    check_estimator(name)
    gigpo_settings(config.algorithm)
    check_estimator_settings(config)
    if name == "gae" and OmegaConf.select(config, "critic.enable") is not False:
        check_critic(config)


def check_one_flag(config: DictConfig) -> None:
    """GiGPO in one of verl's trainer modes; other estimators are verl's own there.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    if config.algorithm.adv_estimator == "gigpo":
        gigpo_settings(config.algorithm)
        check_estimator_settings(config)


def check_estimator_settings(config: DictConfig) -> None:
    """Groups are large enough, rewards reach the estimator, and the discount is the one that it reads."""
    algorithm, name = config.algorithm, config.algorithm.adv_estimator
    size = config.actor_rollout_ref.rollout.n
    if size < 2 and name not in GROUP_FREE:
        raise ConfigError(
            f"actor_rollout_ref.rollout.n={size}: {name} compares the trajectories of one task; use at least 2"
        )
    if algorithm.use_kl_in_reward and name != "gae":
        raise ConfigError(
            f"algorithm.use_kl_in_reward=True: {name} takes its rewards from the environment's turns, so a KL term in "
            "token rewards would be lost; use algorithm.use_kl_in_reward=False actor_rollout_ref.actor.use_kl_loss=True"
        )
    if name == "gigpo" and algorithm.gamma != VERLS_GAMMA:
        raise ConfigError(
            f"algorithm.gamma={algorithm.gamma}: gigpo does not read it; set algorithm.gigpo.gamma={algorithm.gamma}, "
            f"and leave algorithm.gamma at {VERLS_GAMMA}"
        )


def check_critic(config: DictConfig) -> None:
    """A critic's model is named; verl's default is a folder that nobody has.

    Raises:
        ConfigError: critic.model.path is verl's default.
    """
    path = OmegaConf.select(config, "critic.model.path")
    if path is None or str(path) == "~/models/deepseek-llm-7b-chat":
        raise ConfigError(
            f"critic.model.path={path!r}: algorithm.adv_estimator=gae trains a critic; give it a model, for example "
            "critic.model.path=${actor_rollout_ref.model.path}"
        )
