# SPDX-License-Identifier: Apache-2.0
"""Checks what soft targets need of verl's engine and of the model."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.failures import check
from siri_verl.training.preflight.limits import model_settings
from siri_verl.training.soft_targets import FULL_VOCABULARY

ACTOR, MODEL = "actor_rollout_ref.actor", "actor_rollout_ref.model"
REFUSED = {
    f"{MODEL}.use_fused_kernels": "fused kernels compute no logits",
    f"{ACTOR}.pad_to_length": "verl refuses it together with its flag distillation_use_topk",
    f"{ACTOR}.fsdp_config.pad_to_length": "verl refuses it together with its flag distillation_use_topk",
}
"""Switches that must be off, and why."""
PARALLEL = "ulysses_sequence_parallel_size"


def check_soft_targets(config: DictConfig, term: InternalizationSettings) -> None:
    """The engine hands logits to the loss, for whole sequences, and the K columns are not too many.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    if term.target == "sampled":
        return
    needs = f"siri.internalization.target={term.target}"
    strategy = config.actor_rollout_ref.actor.strategy
    fix = f"{needs} computes with the logits that verl's FSDP engine hands to the loss; use fsdp or fsdp2, or sampled"
    check(strategy in ("fsdp", "fsdp2"), f"{ACTOR}.strategy", strategy, fix)
    for field, reason in REFUSED.items():
        value = OmegaConf.select(config, field)
        check(not value, field, value, f"{needs} needs the logits of each token, and {reason}; set it to False")
    for field in (f"{ACTOR}.{PARALLEL}", f"{ACTOR}.fsdp_config.{PARALLEL}"):
        size = OmegaConf.select(config, field)
        check((size or 1) == 1, field, size, f"{needs} needs the logits of whole sequences in each worker; use 1")
    path = config.actor_rollout_ref.model.path
    override = OmegaConf.select(config, f"{MODEL}.override_config")
    vocabulary = model_settings(path, override).get("vocab_size") or 0
    fix = (
        f"the model's vocabulary of {vocabulary} tokens would be a column of {vocabulary} numbers per token, and at "
        f"most {FULL_VOCABULARY} are allowed; use target=top_k"
    )
    check(term.target != "full" or vocabulary <= FULL_VOCABULARY, "siri.internalization.target", term.target, fix)
