# SPDX-License-Identifier: Apache-2.0
"""verl's extension of vLLM's worker, for the CPU: weights can be updated after they were loaded.

vLLM's CPU layers repack a linear layer's weight once and leave an empty parameter behind, so the next update finds
nothing to write to. Here the layers keep their weight and multiply by it as it stands.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import vllm.model_executor.layers.utils as layers
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension


def keep_weight(layer: torch.nn.Module, remove_weight: bool) -> None:
    """In place of vLLM's ``dispatch_cpu_unquantized_gemm``: no repacking.

    Args:
        layer: a layer with a parameter ``weight``.
        remove_weight: what vLLM asks for; never done.

    Raises:
        ValueError: the weight is not a matrix (experts, convolutions): such layers repack it elsewhere too.
    """
    if layer.weight.ndim != 2:
        raise ValueError(
            f"{type(layer).__name__}: weight of shape {tuple(layer.weight.shape)}: siri_verl runs vLLM on the CPU for "
            "models of linear layers alone; use rollout.name=light for this one"
        )
    layer.cpu_linear = F.linear


class CpuWorkerExtension(vLLMColocateWorkerExtension):
    """verl/workers/rollout/vllm_rollout/utils.py, installed before the model is loaded."""

    def __new__(cls, **kwargs):
        layers.dispatch_cpu_unquantized_gemm = keep_weight
        return super().__new__(cls, **kwargs)
