# SPDX-License-Identifier: Apache-2.0
"""The model's attention is one that the light server and the actor on a CPU compute, checked before they start."""

from __future__ import annotations

from omegaconf import DictConfig

from siri_verl.failures import ConfigError
from siri_verl.pretrained.attention import unmodelled


def check_attention(config: DictConfig) -> None:
    """Check the model where the light server serves it or a CPU trains it on packed rows.

    Raises:
        ConfigError: the model's folder has no configuration, or one whose attention is not computed here.
    """
    model, rollout = config.actor_rollout_ref.model, config.actor_rollout_ref.rollout
    packed_on_cpu = config.trainer.device == "cpu" and model.use_remove_padding
    if rollout.name != "light" and not packed_on_cpu:
        return
    from transformers import AutoConfig
    from verl.utils.fs import copy_to_local

    where = f"actor_rollout_ref.model.path={model.path!r}"
    try:
        found = AutoConfig.from_pretrained(copy_to_local(model.path), trust_remote_code=model.trust_remote_code)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{where}: no configuration could be loaded from there; name the folder of a Hugging Face model, or "
            f"its name on the hub ({error})"
        ) from error
    reason = unmodelled(found)
    if reason and rollout.name == "light":
        raise ConfigError(f"{where}: the light server cannot run it, for {reason}; use rollout.name=vllm or sglang")
    if reason:
        raise ConfigError(
            f"{where}: rows cannot be packed on a CPU, for {reason}; set actor_rollout_ref.model.use_remove_padding to "
            "False and actor_rollout_ref.model.override_config.attn_implementation to eager"
        )
