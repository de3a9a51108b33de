# SPDX-License-Identifier: Apache-2.0
"""Settings of the light rollout server, and what of verl's configuration it cannot serve."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siri_verl.failures import check

DTYPES = {"float32": "float32", "fp32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16"}
"""Values of rollout.dtype -> name of the torch dtype."""


@dataclass(frozen=True)
class LightSettings:
    """What a user sets under ``actor_rollout_ref.rollout.engine_kwargs.light``.

    Attributes:
        num_threads: threads of torch in the server's process.
        device: "cpu", or "cuda" for the accelerator of the trainer rank the server belongs to.
        prefill_tokens: tokens of prompts in one forward pass.
        gather_seconds: how long an idle server waits for more requests after the first.
        prefix_cache_mb: memory for keys and values of earlier prompts, for prompts that begin alike; 0 for none.
    """

    num_threads: int = 1
    device: str = "cpu"
    prefill_tokens: int = 2048
    gather_seconds: float = 0.002
    prefix_cache_mb: int = 256

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any] | None) -> LightSettings:
        """Raises ConfigError on an unknown name."""
        values = dict(values or {})
        known = sorted(f.name for f in dataclasses.fields(cls))
        if unknown := sorted(set(values) - set(known)):
            close = difflib.get_close_matches(unknown[0], known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            name = f"actor_rollout_ref.rollout.engine_kwargs.light.{unknown[0]}"
            check(False, name, values[unknown[0]], f"unknown options {unknown}; {hint}known are {known}")
        return cls(**values)


def check_light(config: DictConfig) -> None:
    """A run on the light server asks for nothing that it does not have.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    rollout, model = config.actor_rollout_ref.rollout, config.actor_rollout_ref.model
    where = "actor_rollout_ref.rollout"
    LightSettings.from_mapping(OmegaConf.to_container(rollout.get("engine_kwargs", {}) or {}).get("light"))
    known = ", ".join(sorted(DTYPES))
    check(rollout.dtype in DTYPES, f"{where}.dtype", rollout.dtype, f"the light server knows {known}")
    for name in ("tensor_model_parallel_size", "data_parallel_size", "pipeline_model_parallel_size"):
        size = rollout.get(name) or 1
        check(size == 1, f"{where}.{name}", size, "the light server runs a whole model in one process; set it to 1")
    rank = model.lora.get("rank", 0) or model.lora_rank
    merges = not rank or bool(model.lora.get("merge", False))
    fix = "the light server loads no adapter; set actor_rollout_ref.model.lora.merge=True"
    check(merges, "actor_rollout_ref.model.lora_rank", rank, fix)
