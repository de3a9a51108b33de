# SPDX-License-Identifier: Apache-2.0
"""Settings that bound a run: tokens of a row, and steps.

Where two settings bound the same, the smaller one wins without a word, so it must be the one that was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siri_verl.core.phases import INTERNALIZATION, PHASES
from siri_verl.failures import check
from siri_verl.settings.schema import SiriSettings

ROLLOUT = "actor_rollout_ref.rollout"


def check_lengths(config: DictConfig) -> None:
    """Prompt and reply have tokens, and fit into the rollout server's context and into the model.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    prompt, reply = config.data.max_prompt_length, config.data.max_response_length
    check(prompt >= 1, "data.max_prompt_length", prompt, "use at least 1")
    check(reply >= 1, "data.max_response_length", reply, "use at least 1")
    row = prompt + reply
    needs = f"data.max_prompt_length + data.max_response_length = {row} tokens do not fit; "
    context = config.actor_rollout_ref.rollout.get("max_model_len")
    check(context is None or context >= row, f"{ROLLOUT}.max_model_len", context, f"{needs}use at least {row}, or null")
    path = config.actor_rollout_ref.model.path
    positions = model_positions(path, OmegaConf.select(config, "actor_rollout_ref.model.override_config"))
    fix = f"{needs}the model has {positions} positions (max_position_embeddings in its config.json); lower them"
    check(positions is None or row <= positions, "actor_rollout_ref.model.path", path, fix)


def model_positions(path: str, override: Any = None) -> int | None:
    """Positions of the model in a folder; None where they are not known, or are scaled (rope_scaling).

    Args:
        path: a Hugging Face folder; a name on a hub is not looked up.
        override: `actor_rollout_ref.model.override_config`.
    """
    file = Path(path).expanduser() / "config.json"
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # the tokenizer's check reports a model that is not there
    override = OmegaConf.to_container(override, resolve=True) if OmegaConf.is_config(override) else (override or {})
    model = {**given.get("text_config", {}), **given, **override}
    scaled: Mapping[str, Any] = model.get("rope_scaling") or model.get("rope_parameters") or {}
    positions = model.get("max_position_embeddings")
    return positions if isinstance(positions, int) and "factor" not in scaled else None


def check_row_fits_update(config: DictConfig) -> None:
    """The longest row fits into a micro-batch that is filled by tokens.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    row = config.data.max_prompt_length + config.data.max_response_length
    parallel = max(1, actor.get("ulysses_sequence_parallel_size") or 1)
    for used, field in (
        (actor.use_dynamic_bsz, "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"),
        (rollout.log_prob_use_dynamic_bsz, f"{ROLLOUT}.log_prob_max_token_len_per_gpu"),
    ):
        tokens = OmegaConf.select(config, field)
        if used and actor.strategy in ("fsdp", "fsdp2"):
            least = -(-row // parallel)
            check(tokens >= least, field, tokens, f"a row can have {row} tokens; use at least {least}")


def check_budget(config: DictConfig, settings: SiriSettings) -> None:
    """The budget can end the run, and counts all environment steps.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    budget, phases = settings.budget, settings.phases
    steps, last = budget.env_steps, budget.last_phase
    drops = OmegaConf.select(config, "algorithm.filter_groups.enable")
    fix = (
        "algorithm.filter_groups.enable=True drops groups before their environment steps are counted; set it to "
        "False, or the budget to null"
    )
    check(steps is None or not drops, "siri.budget.env_steps", steps, fix)
    if last is not None:
        where = "siri.budget.last_phase"
        past = phases.fixed is not None and PHASES.index(phases.fixed) > PHASES.index(last)
        fix = f"siri.phases.fixed={phases.fixed!r} comes later, so the run would end after one step; use null"
        check(not past, where, last, fix)
        left_out = last in phases.skip and last != INTERNALIZATION
        check(
            not left_out,
            where,
            last,
            f"siri.phases.skip={list(phases.skip)} leaves it out; name a phase that is played",
        )
    wanted = config.trainer.total_training_steps
    if steps is not None and wanted is not None and settings.tasks == "environment":
        groups = config.data.train_batch_size * config.actor_rollout_ref.rollout.n
        most = wanted * groups * settings.rollout.max_turns
        fix = (
            f"trainer.total_training_steps={wanted} can play {most} turns at most and would end the run before; raise "
            "the steps, or lower the budget"
        )
        check(steps <= most, "siri.budget.env_steps", steps, fix)


def check_epochs(config: DictConfig, tasks: int) -> None:
    """The epochs hold the steps that are asked for: verl ends a run at whichever comes first.

    Args:
        config: verl's configuration.
        tasks: in the training panel.

    Raises:
        ConfigError: the epochs end before trainer.total_training_steps.
    """
    wanted, epochs = config.trainer.total_training_steps, config.trainer.total_epochs
    if wanted is None:
        return
    limit = config.data.get("train_max_samples", -1)
    size = config.data.get("gen_batch_size") or config.data.train_batch_size
    per_epoch = (tasks if limit < 0 else min(limit, tasks)) // size
    needed = -(-wanted // max(1, per_epoch))
    fix = (
        f"{epochs * per_epoch} steps ({per_epoch} an epoch) end the run before trainer.total_training_steps={wanted}, "
        f"without a last checkpoint and validation; use at least {needed}"
    )
    check(epochs >= needed, "trainer.total_epochs", epochs, fix)
