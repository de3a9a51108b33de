# SPDX-License-Identifier: Apache-2.0
"""The model of the light server with its cache: prompts in, logits out, rows of a batch as the only state."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from siri_verl.light.attention import (
    IMPLEMENTATION,
    DecodePlan,
    KVCache,
    PrefillPlan,
    Segment,
    check_supported,
    forward,
)
from siri_verl.light.prefix import PrefixCache


def load_model(
    config: Any, path: str | None, dtype: torch.dtype, device: str = "cpu", trust_remote_code: bool = False
) -> PreTrainedModel:
    """A decoder with the light attention.

    Args:
        config: its transformers configuration.
        path: folder of the weights; None leaves them random, to be filled by a weight update.
    """
    config = copy.deepcopy(config)
    kwargs = {"dtype": dtype, "attn_implementation": IMPLEMENTATION, "trust_remote_code": trust_remote_code}
    if path is None:
        model = AutoModelForCausalLM.from_config(config, **kwargs)
    else:
        model = AutoModelForCausalLM.from_pretrained(path, config=config, **kwargs)
    return model.to(device).eval().requires_grad_(False)


class LightModel:
    """Args:
    model: a decoder as :func:`load_model` builds it.
    prefill_tokens: tokens of prompts in one forward pass.
    prefix_cache_bytes: memory for keys and values of earlier prompts; 0 for none.
    """

    def __init__(self, model: PreTrainedModel, prefill_tokens: int, prefix_cache_bytes: int):
        check_supported(model.config)
        self.model = model
        self.vocab_size: int = model.config.vocab_size
        self.prefill_tokens = prefill_tokens
        weight = next(model.parameters())
        self.device = weight.device
        self.prefixes = PrefixCache(prefix_cache_bytes)
        self._cache = KVCache(model.config, weight.dtype, weight.device)

    def prefill(self, prompts: list[list[int]], first_row: int) -> torch.Tensor:
        """Run prompts into the rows from ``first_row`` on. A prompt that occurs several times runs once.

        Returns:
            logits after each prompt, (prompts, vocab).
        """
        self._cache.reserve(first_row + len(prompts), max(len(p) for p in prompts) + 1)
        leaders: dict[tuple[int, ...], int] = {}
        for i, prompt in enumerate(prompts):
            leaders.setdefault(tuple(prompt), i)
        logits: dict[int, torch.Tensor] = {}
        for chunk in self._chunks(prompts, list(leaders.values())):
            logits.update(zip(chunk, self._prefill_chunk(prompts, chunk, first_row), strict=True))
        for i, prompt in enumerate(prompts):
            leader = leaders[tuple(prompt)]
            if leader != i:
                self._cache.move(first_row + leader, first_row + i, len(prompt))
                logits[i] = logits[leader]
        return torch.stack([logits[i] for i in range(len(prompts))])

    def _chunks(self, prompts: list[list[int]], indices: list[int]) -> list[list[int]]:
        chunks: list[list[int]] = []
        size = 0
        for i in indices:
            if not chunks or size + len(prompts[i]) > self.prefill_tokens:
                chunks.append([])
                size = 0
            chunks[-1].append(i)
            size += len(prompts[i])
        return chunks

    def _prefill_chunk(self, prompts: list[list[int]], chunk: list[int], first_row: int) -> torch.Tensor:
        segments: list[Segment] = []
        tokens: list[int] = []
        positions: list[int] = []
        for i in chunk:
            prompt, row, start = prompts[i], first_row + i, 0
            if (known := self.prefixes.find(prompt)) is not None:
                self._cache.write(row, known)
                start = known.shape[3]
            segments.append(Segment(row, len(tokens), len(tokens) + len(prompt) - start, start))
            tokens.extend(prompt[start:])
            positions.extend(range(start, len(prompt)))
        last = self._tensor([s.end - 1 for s in segments])
        plan = PrefillPlan(self._cache, segments)
        out = forward(self.model, plan, self._tensor(tokens), self._tensor(positions), last)
        for i in chunk:
            self.prefixes.add(prompts[i], self._cache.view(first_row + i, len(prompts[i])))
        return out

    def score(self, prompts: list[list[int]], first_row: int) -> Iterator[torch.Tensor]:
        """Logits after every token of prompts, (tokens, vocab) each. The rows from ``first_row`` on are overwritten."""
        self._cache.reserve(first_row + len(prompts), max(map(len, prompts), default=0))
        for chunk in self._chunks(prompts, list(range(len(prompts)))):
            lengths = [len(prompts[i]) for i in chunk]
            ends = list(accumulate(lengths))
            segments = [Segment(first_row + i, e - n, e) for i, n, e in zip(chunk, lengths, ends, strict=True)]
            tokens = self._tensor([token for i in chunk for token in prompts[i]])
            positions = self._tensor([place for n in lengths for place in range(n)])
            every = torch.arange(ends[-1], device=self.device)
            logits = forward(self.model, PrefillPlan(self._cache, segments), tokens, positions, every)
            yield from logits.split(lengths)

    def decode(self, tokens: list[int], lengths: list[int]) -> torch.Tensor:
        """Add one token to each of the rows 0 .. n-1.

        Args:
            tokens: the newest token of each row.
            lengths: tokens each row holds before it.

        Returns:
            logits after it, (n, vocab).
        """
        self._cache.reserve(len(tokens), max(lengths) + 1)
        positions = self._tensor(lengths)
        plan = DecodePlan(self._cache, positions)
        return forward(self.model, plan, self._tensor(tokens), positions, plan.rows)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the ``length`` tokens of a row onto another."""
        self._cache.move(source, target, length)

    def release(self) -> None:
        """Give the memory of all keys and values back."""
        self._cache.clear()
        self.prefixes.clear()

    @torch.no_grad()
    def update_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Copy new weights in and forget what the old ones computed for later prompts.

        Args:
            weights: (name, tensor) pairs under the names of the model's state dict.

        Raises:
            KeyError: a name the model does not have.
            ValueError: a shape that does not fit, or weights of the model that got no new value.
        """
        self.prefixes.clear()
        state = self.model.state_dict(keep_vars=True)
        missing = {t.data_ptr(): name for name, t in state.items()}  # tied weights are one
        for name, tensor in weights:
            if name not in state:
                raise KeyError(f"weight {name!r} is not in the model, whose names look like {next(iter(state))!r}")
            if state[name].shape != tensor.shape:
                shapes = f"{tuple(tensor.shape)}, the model's {tuple(state[name].shape)}"
                raise ValueError(f"weight {name!r} has shape {shapes}")
            state[name].copy_(tensor)
            missing.pop(state[name].data_ptr(), None)
        if missing:
            raise ValueError(f"weight update without {sorted(missing.values())}")

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, device=self.device)
