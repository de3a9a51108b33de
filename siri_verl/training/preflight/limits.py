# SPDX-License-Identifier: Apache-2.0
"""Settings that bound a run: tokens of a row, and steps.

If two settings bound the same quantity, the smaller one takes effect without a message. It must be the intended one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siri_verl.core.phases import INTERNALIZATION, MINING, PHASES, WARM_UP
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
    model = model_settings(path, override)
    scaled: Mapping[str, Any] = model.get("rope_scaling") or model.get("rope_parameters") or {}
    positions = model.get("max_position_embeddings")
    return positions if isinstance(positions, int) and "factor" not in scaled else None


def model_settings(path: str, override: Any = None) -> dict[str, Any]:
    """config.json of the model in a folder, with `override`; empty where it cannot be read.

    Args:
        path, override: as for `model_positions`.
    """
    file = Path(path).expanduser() / "config.json"
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the tokenizer's check reports a model that is not there
    override = OmegaConf.to_container(override, resolve=True) if OmegaConf.is_config(override) else (override or {})
    return {**given.get("text_config", {}), **given, **override}


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
    """The budget can end the run, counts all environment steps, and is reached within the steps that are asked for.

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
    if wanted is not None:
        check_reach(config, settings, wanted, f"trainer.total_training_steps={wanted}")


def check_reach(config: DictConfig, settings: SiriSettings, steps: int, bound: str) -> None:
    """A run of so many steps can reach the budget, and the end of the last phase.

    Args:
        config: verl's configuration.
        settings: its `siri:` block.
        steps: of the run.
        bound: the setting that they follow from, as written.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    budget, phases = settings.budget, settings.phases
    if budget.env_steps is not None and settings.tasks == "environment":
        groups = config.data.train_batch_size * config.actor_rollout_ref.rollout.n
        most = steps * groups * settings.rollout.max_turns
        fix = f"{bound} can play {most} turns at most and would end the run before; raise it, or lower the budget"
        check(budget.env_steps <= most, "siri.budget.env_steps", budget.env_steps, fix)
    played = [phase for phase in PHASES if phase not in phases.skip]
    if phases.fixed is None and budget.last_phase in played[:-1]:
        caps = {WARM_UP: phases.warm_up_max_steps, MINING: phases.mining_max_steps}
        needed = sum(caps[phase] for phase in played[: played.index(budget.last_phase) + 1])
        fix = (
            f"it can last until step {needed} (siri.phases.warm_up_max_steps, mining_max_steps), and {bound} would end "
            "the run before; raise it, or lower the phases' steps"
        )
        check(needed <= steps, "siri.budget.last_phase", budget.last_phase, fix)


def check_epochs(config: DictConfig, settings: SiriSettings, tasks: int) -> None:
    """The epochs hold what is asked for: verl ends a run at whichever of steps and epochs comes first.

    Args:
        config: verl's configuration.
        settings: its `siri:` block.
        tasks: in the training panel.

    Raises:
        ConfigError: the epochs end before trainer.total_training_steps or the budget.
    """
    wanted, epochs = config.trainer.total_training_steps, config.trainer.total_epochs
    limit = config.data.get("train_max_samples", -1)
    # whatever data.gen_batch_size is (verl/trainer/ppo/v1/trainer_base.py, _init_dataloader)
    per_epoch = (tasks if limit < 0 else min(limit, tasks)) // config.data.train_batch_size
    steps = epochs * per_epoch
    if wanted is None:
        check(steps >= 1, "trainer.total_epochs", epochs, "use at least 1, or set trainer.total_training_steps")
        check_reach(config, settings, steps, f"trainer.total_epochs={epochs} ({steps} steps)")
        return
    fix = (
        f"{steps} steps ({per_epoch} an epoch) end the run before trainer.total_training_steps={wanted}, "
        f"without a last checkpoint and validation; use at least {-(-wanted // per_epoch)}"
    )
    check(steps >= wanted, "trainer.total_epochs", epochs, fix)


def check_turns(settings: SiriSettings) -> None:
    """An episode's two bounds agree: the environment's own, where it is set by that name, and the agent loop's.

    Raises:
        ConfigError: siri.environment.kwargs.max_turns differs from siri.rollout.max_turns.
    """
    own, cut = settings.environment.kwargs.get("max_turns"), settings.rollout.max_turns
    fix = f"siri.rollout.max_turns={cut}, and the smaller of the two ends an episode; set both to one number"
    check(own is None or own == cut, "siri.environment.kwargs.max_turns", own, fix)
