# SPDX-License-Identifier: Apache-2.0
"""Ask the rollout servers' current weights to write text: what the miner needs.

In synchronous mode the servers hold the newest weights and are awake from the end of one step to the end of the next
rollout, so this is called at the beginning of a step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from verl.utils import normalize_token_ids

from siri_verl.core.seeding import derive_seed


class PolicyWriter:
    """Text in, text out, through verl's server client.

    Args:
        client: verl's LLMServerClient.
        tokenizer: the policy's.
        sampling: temperature, top_p and so on.
        max_tokens: longest answer.
        max_prompt_length: longest prompt; prompts are bounded by the mining template, a longer one is an error.
        seed: the run's seed, or None to leave requests unseeded.
        chat_template_kwargs: passed to the chat template.
    """

    def __init__(
        self,
        client: Any,
        tokenizer: Any,
        sampling: dict[str, Any],
        max_tokens: int,
        max_prompt_length: int,
        seed: int | None,
        chat_template_kwargs: dict[str, Any] | None = None,
    ):
        self.client, self.tokenizer = client, tokenizer
        self.sampling, self.max_tokens, self.max_prompt_length = dict(sampling), max_tokens, max_prompt_length
        self.seed, self.chat_template_kwargs = seed, dict(chat_template_kwargs or {})
        self.prompt_tokens = 0
        self.generated_tokens = 0

    def __call__(self, prompts: Sequence[str], step: int) -> list[str]:
        """Answers to the prompts, in order. A prompt that is too long gets the empty answer (malformed, counted)."""
        return asyncio.run(self._all(prompts, step))

    async def _all(self, prompts: Sequence[str], step: int) -> list[str]:
        return list(await asyncio.gather(*(self._one(prompt, step, i) for i, prompt in enumerate(prompts))))

    async def _one(self, prompt: str, step: int, number: int) -> str:
        ids = normalize_token_ids(
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                add_generation_prompt=True,
                tokenize=True,
                **self.chat_template_kwargs,
            )
        )
        if len(ids) > self.max_prompt_length:
            return ""
        params = {**self.sampling, "max_tokens": self.max_tokens}
        if self.seed is not None:
            params["seed"] = derive_seed(self.seed, "mining", step, number)
        output = await self.client.generate(
            request_id=f"mining-{step}-{number}", prompt_ids=ids, sampling_params=params
        )
        self.prompt_tokens += len(ids)
        self.generated_tokens += len(output.token_ids)
        return self.tokenizer.decode(output.token_ids, skip_special_tokens=True)
