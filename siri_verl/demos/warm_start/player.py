# SPDX-License-Identifier: Apache-2.0
"""A model that answers prompts in batches, without a trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from siri_verl.trajectory.decoding import decode_reply


class Player:
    """A model that answers prompts in batches.

    Args:
        model: Hugging Face folder or a loaded model.
        tokenizer: a loaded tokenizer where `model` is a loaded model.
        temperature: of sampling; 0 is greedy.
        batch_size: prompts answered at a time.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, temperature: float = 1.0, batch_size: int = 256):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(model) if tokenizer is None else tokenizer
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32) if tokenizer is None else model
        self.temperature, self.batch_size = temperature, batch_size

    @torch.no_grad()
    def answer(self, prompts: Sequence[str], max_new_tokens: int = 32) -> list[str]:
        """One reply per prompt, in order."""
        order = sorted(range(len(prompts)), key=lambda k: len(prompts[k]))
        replies = [""] * len(prompts)
        sampling = {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            texts = [
                self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompts[k]}], add_generation_prompt=True, tokenize=False
                )
                for k in part
            ]
            batch = self.tokenizer(
                texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
            )
            out = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
                **(sampling if self.temperature > 0 else {"do_sample": False}),
            )
            for k, ids in zip(part, out[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
                replies[k] = decode_reply(self.tokenizer, ids)
        return replies
