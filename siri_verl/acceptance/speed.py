# SPDX-License-Identifier: Apache-2.0
"""Tokens per second of each stage of a training step, against what the device could do at best.

A forward pass takes 2 N FLOP per token and an update 6 N, N the number of parameters; attention and recomputation are
not counted, as in the usual MFU. A decoding step reads all weights once for all sessions, and each session's keys and
values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from siri_verl.acceptance.device import Device
from siri_verl.planning.architecture import Architecture


@dataclass(frozen=True)
class Stage:
    """One stage of a step: tokens, seconds, and the seconds that the device needs at least."""

    name: str
    tokens: float
    seconds: float
    least: float

    @property
    def per_second(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds

    @property
    def share(self) -> float:
        """Of the device's limit."""
        return self.least / self.seconds


def stages(metrics: Mapping[str, float], arch: Architecture, device: Device, sessions: int, width: int) -> list[Stage]:
    """The stages of one step.

    Args:
        metrics: of the step (metrics.jsonl).
        arch: the model's sizes.
        device: where it ran.
        sessions: in play at a time.
        width: bytes of a number in rollout weights and cache.
    """
    total, written = metrics["perf/total_num_tokens"], metrics["siri/generated_tokens"]
    prompts = total - written
    context = metrics["prompt_length/mean"] + metrics["response_length/mean"] / 2
    step = width * (arch.parameters + sessions * context * arch.kv_values) / device.bandwidth
    forward = 2 * arch.parameters / device.flops
    return [
        Stage("generation", written, metrics["timing_s/gen"], prompts * forward + written / sessions * step),
        Stage("log-probs", total, metrics["timing_s/old_log_prob"], total * forward),
        Stage("update", total, metrics["timing_s/update_actor"], 3 * total * forward),
    ]
