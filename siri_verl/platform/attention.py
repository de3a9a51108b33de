# SPDX-License-Identifier: Apache-2.0
"""Attention over packed sequences on a CPU, for training with ``use_remove_padding=True``.

verl's engine then joins the sequences of a micro-batch into one row of tokens and leaves it to flash attention, which
knows no CPU, to keep them apart. This attention does it with torch's own kernel, sequence by sequence: no padding is
computed anywhere in the model. It is registered with transformers under :data:`IMPLEMENTATION`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from siri_verl.pretrained.attention import check_arguments, visible

IMPLEMENTATION = "siri_packed"


def sequence_lengths(position_ids: torch.Tensor) -> list[int]:
    """Lengths of packed sequences, each of which begins at position 0.

    Args:
        position_ids: (1, tokens).

    Raises:
        ValueError: more than one row, or a first token that is not at position 0.
    """
    if position_ids.dim() != 2 or position_ids.shape[0] != 1:
        shape = tuple(position_ids.shape)
        raise ValueError(f"packed attention takes one row of tokens, got position_ids of shape {shape}")
    starts = (position_ids[0] == 0).nonzero()[:, 0].tolist()
    if not starts or starts[0] != 0:
        raise ValueError(f"packed attention: the first token is at position {int(position_ids[0, 0])}, expected 0")
    return [b - a for a, b in zip(starts, [*starts[1:], position_ids.shape[1]], strict=True)]


def packed_attention(
    module, query, key, value, attention_mask, scaling=None, dropout=0.0, position_ids=None, **kwargs
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface.

    Args:
        query: (1, heads, tokens, size); key and value (1, kv heads, tokens, size).
        position_ids: (1, tokens).

    Returns:
        (1, tokens, heads, size), and no weights.
    """
    if attention_mask is not None or position_ids is None:
        raise ValueError(
            f"{type(module).__name__}: packed attention takes position_ids and no mask; "
            "set model.use_remove_padding=True"
        )
    check_arguments(module, kwargs)
    lengths, window = sequence_lengths(position_ids), kwargs.get("sliding_window")
    gqa = query.shape[1] != key.shape[1]
    # split and cat, not slices: the gradient of a slice is as long as the whole row
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    out = []
    for q, k, v in parts:
        positions, mask = torch.arange(q.shape[2], device=q.device), None
        if window is not None and len(positions) > window:
            mask = visible(positions, positions, window)
        out.append(
            F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scaling, enable_gqa=gqa
            )
        )
    return torch.cat(out, dim=2).transpose(1, 2), None


AttentionInterface.register(IMPLEMENTATION, packed_attention)
