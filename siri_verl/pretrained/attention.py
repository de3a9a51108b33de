# SPDX-License-Identifier: Apache-2.0
"""What the package's own attention computes, and the reason why a model that needs something else is refused.

The light server and the CPU engine replace transformers' attention: causal attention with grouped heads, over all
earlier tokens or over a sliding window of them. Whatever else a model asks of its attention would be left out silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

FULL, SLIDING = "full_attention", "sliding_attention"
_HARMLESS = frozenset(
    ("dropout", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict")
    + ("position_ids", "cache_position", "is_causal", "sliding_window", "past_key_values", "logits_to_keep")
)
"""Arguments of transformers' attention interface that change nothing here, or that are read."""


def unmodelled(config: Any) -> str | None:
    """Why the attention of a model with this configuration is not computed here; None if it is."""
    if getattr(config, "is_encoder_decoder", False):
        return "it has an encoder beside its decoder"
    if other := sorted(set(getattr(config, "layer_types", None) or [FULL]) - {FULL, SLIDING}):
        return f"it has layers of kind {', '.join(other)}; computed are {FULL} and {SLIDING}"
    if (cap := getattr(config, "attn_logit_softcapping", None)) is not None:
        return f"its attention scores are capped (attn_logit_softcapping={cap})"
    return None


def check_arguments(module: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of an attention layer that would be left out, and a sliding layer that names no window.

    Args:
        module: the layer.
        arguments: further ones of transformers' attention interface.

    Raises:
        ValueError: names them.
    """
    name = type(module).__name__
    left_out = sorted(key for key, value in arguments.items() if value is not None and key not in _HARMLESS)
    if left_out:
        raise ValueError(f"{name} asks for {', '.join(left_out)} of its attention, which is not computed here")
    kinds = getattr(getattr(module, "config", None), "layer_types", None)
    if kinds and kinds[module.layer_idx] == SLIDING and arguments.get("sliding_window") is None:
        raise ValueError(f"{name}: layer {module.layer_idx} is of kind {SLIDING} and names no sliding_window")


def visible(queries: torch.Tensor, keys: torch.Tensor, window: int | None) -> torch.Tensor:
    """Which keys each query sees: itself and earlier ones, with a window that many at most.

    Args:
        queries: (q,) positions.
        keys: (k,) positions.
        window: None for all earlier ones (transformers/masking_utils.py, sliding_window_overlay).

    Returns:
        (q, k), bool.
    """
    seen = keys[None, :] <= queries[:, None]
    return seen if window is None else seen & (keys[None, :] > queries[:, None] - window)
