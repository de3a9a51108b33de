# SPDX-License-Identifier: Apache-2.0
"""Keys and values of earlier prompts, for prompts that begin alike.

The turns of one task share the task's text, the sessions of a group share whole prompts, both arms share everything
around the skill: a good part of the work on a prompt has been done before. Prompts are cut into blocks; a block is
known by its own tokens and by the block before it, so a match is exact. The least recently used blocks go first.
"""

from __future__ import annotations

from collections import OrderedDict

import torch

BLOCK = 16
"""Tokens per block: a prompt is resumed at a multiple of it."""


class PrefixCache:
    """Args:
    max_bytes: memory of the kept blocks; 0 keeps none.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hit_tokens = 0
        self.seen_tokens = 0
        # (id of the block before, tokens) -> (id, keys and values)
        self._blocks: OrderedDict[tuple[int, tuple[int, ...]], tuple[int, torch.Tensor]] = OrderedDict()
        self._next_id = 1

    def _walk(self, prompt: list[int], end: int) -> list[tuple[int, tuple[int, ...]]]:
        """Keys of the known blocks at the beginning of a prompt, at most ``end`` tokens of it."""
        keys, parent = [], 0
        for start in range(0, end - BLOCK + 1, BLOCK):
            key = (parent, tuple(prompt[start : start + BLOCK]))
            if key not in self._blocks:
                break
            keys.append(key)
            parent = self._blocks[key][0]
        return keys

    def find(self, prompt: list[int]) -> torch.Tensor | None:
        """Keys and values of the longest known beginning, (layers, 2, kv heads, tokens, head size); None if there is
        none.

        At least the prompt's last token is left out, since its logits are wanted.
        """
        self.seen_tokens += len(prompt)
        keys = self._walk(prompt, len(prompt) - 1)
        if not keys:
            return None
        for key in reversed(keys):  # the beginning is used last, thus kept longest
            self._blocks.move_to_end(key)
        self.hit_tokens += BLOCK * len(keys)
        return torch.cat([self._blocks[key][1] for key in keys], dim=3)

    def add(self, prompt: list[int], block: torch.Tensor) -> None:
        """Keep a prompt's whole blocks.

        Args:
            block: keys and values of the whole prompt, (layers, 2, kv heads, tokens, head size); copied.
        """
        if not self.max_bytes:
            return
        keys = self._walk(prompt, len(prompt))
        parent = self._blocks[keys[-1]][0] if keys else 0
        for start in range(len(keys) * BLOCK, len(prompt) - BLOCK + 1, BLOCK):
            key = (parent, tuple(prompt[start : start + BLOCK]))
            piece = block[:, :, :, start : start + BLOCK].clone()
            self._blocks[key] = (self._next_id, piece)
            parent, self._next_id = self._next_id, self._next_id + 1
            self.bytes += piece.nbytes
        while self.bytes > self.max_bytes:
            _, (_, piece) = self._blocks.popitem(last=False)
            self.bytes -= piece.nbytes

    def clear(self) -> None:
        """Forget everything: the weights changed."""
        self._blocks.clear()
        self.bytes = 0
