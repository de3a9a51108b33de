# SPDX-License-Identifier: Apache-2.0
"""Any OpenAI-compatible endpoint as the miner, to compare self-mined skills with those a closed model writes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from siri_verl.core.seeding import derive_seed
from siri_verl.endpoint import Completion, Endpoint, EndpointSettings


class EndpointWriter:
    """`writer(prompts, step) -> texts` over an endpoint.

    Args:
        settings: where the endpoint listens.
        temperature, top_p, top_k: of sampling; a top_k of -1 keeps all tokens.
        max_tokens: longest answer.
        seed: the run's seed, or None to leave requests unseeded.

    Attributes:
        prompt_tokens, generated_tokens: so far, as far as the endpoint counts them.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        temperature: float = 1.0,
        max_tokens: int = 256,
        *,
        top_p: float = 1.0,
        top_k: int = -1,
        seed: int | None = None,
    ):
        if temperature < 0:
            raise ValueError(f"endpoint miner: temperature={temperature!r}: use 0 or more")
        if max_tokens < 1:
            raise ValueError(f"endpoint miner: max_tokens={max_tokens!r}: use at least 1")
        self.settings, self.temperature, self.max_tokens = settings, temperature, max_tokens
        self.top_p, self.top_k, self.seed = top_p, top_k, seed
        self.prompt_tokens = self.generated_tokens = 0

    def __call__(self, prompts: Sequence[str], step: int = 0) -> list[str]:
        """Answers to the prompts, in order.

        Raises:
            EndpointError: a request failed after all attempts, or the answer has no text.
        """
        endpoint = Endpoint(self.settings)

        def ask(number: int, prompt: str) -> Completion:
            return endpoint.chat(
                [{"role": "user", "content": prompt}],
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                top_p=self.top_p,
                top_k=self.top_k,
                seed=None if self.seed is None else derive_seed(self.seed, "mining", step, number),
            )

        try:
            with ThreadPoolExecutor(self.settings.parallel) as threads:
                answers = list(threads.map(ask, range(len(prompts)), prompts))
        finally:
            endpoint.close()
        self.prompt_tokens += sum(answer.prompt_tokens or 0 for answer in answers)
        self.generated_tokens += sum(answer.reply_tokens or 0 for answer in answers)
        return [answer.text for answer in answers]
