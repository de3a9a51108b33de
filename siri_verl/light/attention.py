# SPDX-License-Identifier: Apache-2.0
"""Keys, values and attention of the light server.

The batch is packed: one row of tokens without padding, for any lengths. The linear layers compute no padding, and one
matrix product gives the logits of the last position of every request. Only attention treats requests one by one. It is
registered with transformers under the name :data:`IMPLEMENTATION`, so any decoder that supports attention back ends
(Qwen2, Qwen3, Llama, Mistral, Gemma 3 ...) runs unchanged. Layers with a sliding window keep all keys and values, and
mask those outside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

from siri_verl.pretrained.attention import check_arguments, unmodelled, visible

IMPLEMENTATION = "siri_light"
_STEP = 64
"""Capacities grow in these steps, so that a growing reply does not copy the cache every token."""


class KVCache:
    """Keys and values of the running requests: request in row r has its token t in slot t.

    One tensor (layers, 2, rows, kv heads, slots, head size); rows and slots grow on demand.
    """

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype, device: torch.device):
        self.layers = config.num_hidden_layers
        self.kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.dtype, self.device = dtype, device
        self.data = self._empty(0, 0)

    def _empty(self, rows: int, slots: int) -> torch.Tensor:
        # zeros: an unused slot is masked, but a stray NaN times zero would still be NaN
        shape = (self.layers, 2, rows, self.kv_heads, slots, self.head_dim)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def reserve(self, rows: int, slots: int) -> None:
        """Make room for ``rows`` requests of ``slots`` tokens, keeping what is there."""
        have_rows, have_slots = self.data.shape[2], self.data.shape[4]
        if rows <= have_rows and slots <= have_slots:
            return
        rows = max(have_rows, -(-rows // 8) * 8)
        slots = max(have_slots, -(-slots // _STEP) * _STEP)
        data = self._empty(rows, slots)
        data[:, :, :have_rows, :, :have_slots] = self.data
        self.data = data

    def view(self, row: int, length: int) -> torch.Tensor:
        """The first ``length`` tokens of a row, not copied: (layers, 2, kv heads, length, head size)."""
        return self.data[:, :, row, :, :length]

    def write(self, row: int, block: torch.Tensor) -> None:
        """Put keys and values of the shape :meth:`view` gives at the beginning of a row."""
        self.data[:, :, row, :, : block.shape[3]] = block

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row onto another."""
        self.data[:, :, target, :, :length] = self.data[:, :, source, :, :length]

    def clear(self) -> None:
        """Give the memory back."""
        self.data = self._empty(0, 0)


@dataclass(frozen=True)
class Segment:
    """A stretch of one request in a packed batch: tokens [start, end) of the pack, first of them token ``offset``."""

    row: int
    start: int
    end: int
    offset: int = 0


def _additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where visible, minus infinity elsewhere: torch's CPU kernel takes it faster than booleans."""
    return torch.zeros_like(visible, dtype=dtype).masked_fill_(~visible, float("-inf"))


class PrefillPlan:
    """Attention of several prompts, each over its own earlier tokens."""

    def __init__(self, cache: KVCache, segments: list[Segment]):
        self.cache, self.segments = cache, segments
        self._masks: dict[tuple[int, int | None], torch.Tensor] = {}

    def _mask(self, s: Segment, window: int | None) -> torch.Tensor | None:
        """What the queries of a stretch see; None where each sees itself and all before it, from token 0 on."""
        stop = s.offset + s.end - s.start
        if window is not None and stop <= window:
            window = None
        if not s.offset and window is None:
            return None
        if (s.row, window) not in self._masks:
            # query i of the stretch sees the tokens up to offset + i
            positions = torch.arange(stop, device=self.cache.device)
            self._masks[s.row, window] = _additive(visible(positions[s.offset :], positions, window), self.cache.dtype)
        return self._masks[s.row, window]

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int | None = None
    ) -> torch.Tensor:
        """q (1, heads, tokens, size), k and v (1, kv heads, tokens, size) -> (1, heads, tokens, size)."""
        data, out, gqa = self.cache.data[layer], torch.empty_like(q), q.shape[1] != k.shape[1]
        for s in self.segments:
            stop, mask = s.offset + s.end - s.start, self._mask(s, window)
            data[0, s.row, :, s.offset : stop] = k[0, :, s.start : s.end]
            data[1, s.row, :, s.offset : stop] = v[0, :, s.start : s.end]
            out[:, :, s.start : s.end] = F.scaled_dot_product_attention(
                q[:, :, s.start : s.end],
                data[0, s.row : s.row + 1, :, :stop],
                data[1, s.row : s.row + 1, :, :stop],
                attn_mask=mask,
                is_causal=mask is None,
                scale=scale,
                enable_gqa=gqa,
            )
        return out


class DecodePlan:
    """Attention of one new token for each of the rows 0 .. n-1."""

    def __init__(self, cache: KVCache, lengths: torch.Tensor):
        """
        Args:
            lengths: (n,), tokens already in each row, to which the new one is added.
        """
        self.cache, self.lengths = cache, lengths
        self.rows = torch.arange(len(lengths), device=lengths.device)
        self.slots = int(lengths.max()) + 1
        self._masks: dict[int | None, torch.Tensor] = {}

    def _mask(self, window: int | None) -> torch.Tensor:
        """What the new tokens see, (n, 1, 1, slots)."""
        if window is not None and self.slots <= window:
            window = None
        if window not in self._masks:
            slots = torch.arange(self.slots, device=self.lengths.device)
            seen = visible(self.lengths, slots, window)
            self._masks[window] = _additive(seen[:, None, None, :], self.cache.dtype)
        return self._masks[window]

    def attend(
        self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, window: int | None = None
    ) -> torch.Tensor:
        """q (1, heads, n, size), k and v (1, kv heads, n, size) -> (1, heads, n, size)."""
        data, n = self.cache.data[layer], len(self.rows)
        data[0][self.rows, :, self.lengths] = k[0].transpose(0, 1)
        data[1][self.rows, :, self.lengths] = v[0].transpose(0, 1)
        kv_heads = k.shape[1]
        # heads that share keys become queries of one product: (n, kv heads, heads per kv head, size)
        queries = q[0].view(kv_heads, -1, n, q.shape[-1]).permute(2, 0, 1, 3)
        out = F.scaled_dot_product_attention(
            queries,
            data[0][:n, :, : self.slots],
            data[1][:n, :, : self.slots],
            attn_mask=self._mask(window).expand(n, 1, queries.shape[2], self.slots),
            scale=scale,
        )
        return out.permute(1, 2, 0, 3).reshape(1, -1, n, q.shape[-1])


def _attention(module, query, key, value, attention_mask, scaling=None, light_plan=None, **kwargs):
    """transformers' attention interface: returns (1, tokens, heads, size) and no weights."""
    if light_plan is None:
        raise ValueError(
            f"{type(module).__name__} called without a plan: either the model does not hand keyword arguments on to "
            "its attention (the light server cannot run it), or it was called outside the light server"
        )
    check_arguments(module, kwargs)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = light_plan.attend(module.layer_idx, query, key, value, scaling, kwargs.get("sliding_window"))
    return out.transpose(1, 2), None


AttentionInterface.register(IMPLEMENTATION, _attention)


def check_supported(config: PretrainedConfig) -> None:
    """Refuse what the cache above does not model.

    Raises:
        ValueError: names the model's type and the reason.
    """
    if reason := unmodelled(config):
        raise ValueError(
            f"model type {config.model_type!r}: the light server cannot run it, for {reason}; use rollout.name=vllm or "
            "sglang"
        )


@torch.inference_mode()
def forward(
    model: PreTrainedModel,
    plan: PrefillPlan | DecodePlan,
    tokens: torch.Tensor,
    positions: torch.Tensor,
    last: torch.Tensor,
) -> torch.Tensor:
    """Logits at chosen places of a packed batch.

    Args:
        tokens: (tokens,) ids.
        positions: (tokens,), place of each in its request.
        last: (rows,), indices into the pack.

    Returns:
        (rows, vocab).
    """
    out = model(
        input_ids=tokens[None],
        position_ids=positions[None],
        use_cache=False,
        logits_to_keep=last,
        light_plan=plan,
    )
    return out.logits[0]
