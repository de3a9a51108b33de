# SPDX-License-Identifier: Apache-2.0
"""Checks what the mining and internalization phases need."""

from __future__ import annotations

import importlib.util
import os

from omegaconf import DictConfig, OmegaConf

from siri_verl.core.pairing import ArmPlan
from siri_verl.core.phases import INTERNALIZATION, WARM_UP
from siri_verl.core.rules import RULES
from siri_verl.failures import ConfigError, check
from siri_verl.named import named
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.bank_file import BankFileError, load_bank
from siri_verl.skills.task_type import task_typer
from siri_verl.training.advantages import WEIGHING_ESTIMATORS
from siri_verl.training.gates import gate_named
from siri_verl.training.preflight.soft_targets import check_soft_targets


def check_skills(config: DictConfig, settings: SiriSettings) -> None:
    """Check arms, task types, estimator and mining; without effect where warm-up is the only phase.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    chain = settings.curriculum.chain_length
    fix = "chains are an order of the training tasks, which data.shuffle=True would undo; set it to False"
    check(chain == 1 or not config.data.shuffle, "siri.curriculum.chain_length", chain, fix)
    if settings.phases.fixed == WARM_UP:
        return
    estimator = config.algorithm.adv_estimator
    fix = "siri.writer.train=True gives the writer's rows advantages of their own, which gigpo leaves at 0; use gigpo"
    check(not settings.writer.train or estimator == "gigpo", "algorithm.adv_estimator", estimator, fix)
    if OmegaConf.select(config, "algorithm.filter_groups.enable"):
        raise ConfigError(
            "algorithm.filter_groups.enable=True: groups whose trajectories fare alike are dropped before they are "
            "looked at, and a skill's evidence would be chosen by its outcome; set it to False"
        )
    for field in ("skill_share", "internalization_skill_share"):
        share = getattr(settings.arms, field)
        if share is not None:
            try:
                ArmPlan.split(config.actor_rollout_ref.rollout.n, share)
            except ValueError as error:
                raise ConfigError(f"siri.arms.{field}={share}: {error}") from error
    try:
        task_typer(settings.task_type)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    room = config.data.max_prompt_length + config.data.max_response_length
    if settings.mining.max_tokens >= room:
        raise ConfigError(
            f"siri.mining.max_tokens={settings.mining.max_tokens}: leaves no room for the mining prompt in "
            f"data.max_prompt_length + data.max_response_length = {room}"
        )
    if settings.phases.fixed == INTERNALIZATION or INTERNALIZATION not in settings.phases.skip:
        check_internalization(config, settings)


def check_skill_inputs(settings: SiriSettings) -> None:
    """Check what lies outside the configuration: the initial bank, and package and key of a miner's endpoint.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    if settings.initial_bank is not None:
        try:
            load_bank(settings.initial_bank, settings.bank, settings.utility)
        except (BankFileError, OSError) as error:
            raise ConfigError(
                f"siri.initial_bank={settings.initial_bank!r}: {error}; null starts with an empty bank"
            ) from error
    miner = settings.mining.endpoint
    if miner.base_url is None:
        return
    if importlib.util.find_spec("openai") is None:
        raise ConfigError(
            f"siri.mining.endpoint.base_url={miner.base_url!r}: the package openai, which asks endpoints, is not "
            "installed; run `pip install openai`, or use null to let the policy mine"
        )
    if miner.api_key_env is not None and not os.environ.get(miner.api_key_env):
        raise ConfigError(
            f"siri.mining.endpoint.api_key_env={miner.api_key_env!r}: this environment variable is not set in the "
            "trainer's process; export it before Ray and the run start, or use null for a server that asks for no key"
        )


def check_internalization(config: DictConfig, settings: SiriSettings) -> None:
    """The estimator can weigh turns, and the order of rows in optimizer steps is fixed.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    if config.algorithm.adv_estimator not in WEIGHING_ESTIMATORS:
        raise ConfigError(
            f"algorithm.adv_estimator={config.algorithm.adv_estimator!r}: internalization weights turns by the "
            f"advantages of {' or '.join(WEIGHING_ESTIMATORS)}; use one of them, or leave the phase out with "
            "siri.phases.skip=[internalization]"
        )
    if config.actor_rollout_ref.actor.shuffle:
        raise ConfigError(
            "actor_rollout_ref.actor.shuffle=True: internalization rows are dealt to optimizer steps in order; set it "
            "to False"
        )
    if OmegaConf.select(config, "critic.enable"):
        raise ConfigError(
            "critic.enable=True: internalization rows are dealt to the actor's optimizer steps, and the critic's would "
            "not divide the batch; set it to null"
        )
    if config.algorithm.rollout_correction.get("bypass_mode"):
        raise ConfigError(
            "algorithm.rollout_correction.bypass_mode=True: the log-probs of a turn under its plain prompt come from "
            "the actor's own pass, and the rollout's are of the prompt with the skill; set it to False"
        )
    for engine in ("megatron", "veomni"):
        field = f"actor_rollout_ref.actor.{engine}.router_replay.mode"
        if OmegaConf.select(config, field) == "R3":
            raise ConfigError(
                f"{field}='R3': the rollout's routes are of the prompt with the skill, and internalization rows have "
                "the plain one; use R2 or disabled"
            )
    check_parts(settings)
    check_token_teacher(config, settings)
    if settings.internalization.source == "self_imitation" and not settings.control.self_imitation_tokens:
        raise ConfigError(
            "siri.control.self_imitation_tokens=0: siri.internalization.source=self_imitation needs the number of "
            "tokens per update that the compared run's gate let through (its siri/internalization/tokens_gated)"
        )


def check_parts(settings: SiriSettings) -> None:
    """Functions that are named by their paths can be imported here, as they will be in the workers.

    Raises:
        ConfigError: one cannot.
    """
    term = settings.internalization
    gate_named(term.source)
    named("siri.utility.decision", settings.utility.decision, RULES)
    if ":" in term.token_weight:
        named("siri.internalization.token_weight", term.token_weight, {})


def check_token_teacher(config: DictConfig, settings: SiriSettings) -> None:
    """The trainer can do what the settings of the token teacher ask for.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    term, optim = settings.internalization, config.actor_rollout_ref.actor.optim
    check_soft_targets(config, term)
    schedule = optim.get("lr_scheduler_type", "constant")
    fix = (
        f"verl would move actor_rollout_ref.actor.optim.lr_scheduler_type={schedule} on at these steps too; use "
        "constant, or steps=0"
    )
    check(not term.steps or schedule == "constant", "siri.internalization.steps", term.steps, fix)
    fix = "the prompts of plain turns with a skill come from siri_verl's agent loop; use rows=skill_on_plain"
    own_loop = settings.tasks == "dataset"
    check(not own_loop or term.rows == "skill_on_plain", "siri.internalization.rows", term.rows, fix)
