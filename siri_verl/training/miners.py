# SPDX-License-Identifier: Apache-2.0
"""Who answers the mining prompts: the policy itself, or another model behind an OpenAI-compatible endpoint.

A miner is called as `miner(prompts, step)`, returns one answer per prompt and counts tokens. Which prompts are asked
and what becomes of the answers is decided by `siri_verl.skills.mining.Miner`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from omegaconf import DictConfig

from siri_verl.core.seeding import derive_seed
from siri_verl.endpoint import (
    Completion,
    Endpoint,
    EndpointError,
    EndpointSettings,
    RequestRefusedError,
)
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.writer import WrittenReply
from siri_verl.trajectory.decoding import TAGS, ControlTokens, decode_reply, reply_opening
from siri_verl.trajectory.prompt_builder import chat_tokens

logger = logging.getLogger(__name__)


class PolicyMiner:
    """Asks the current policy, through verl's server client.

    In synchronous mode the rollout servers hold the newest weights and are awake from the end of one step to the end of
    the next rollout; so it is called at the beginning of a step.

    Args:
        client: verl's LLMServerClient.
        tokenizer: the policy's.
        sampling: temperature, top_p and so on.
        max_tokens: longest answer.
        max_prompt_length: longest prompt, in tokens.
        seed: the run's seed, or None to leave requests unseeded.
        chat_template_kwargs: passed to the chat template.

    Attributes:
        prompt_tokens, generated_tokens: so far.
        replies: the last round's answers as tokens, None for a prompt that was too long.
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
        self.prompt_tokens = self.generated_tokens = 0
        self.replies: list[WrittenReply | None] = []

    @cached_property
    def _control(self) -> ControlTokens:
        return ControlTokens(self.tokenizer)

    @cached_property
    def _opening(self) -> str:
        return reply_opening(self.tokenizer, self.chat_template_kwargs)

    def __call__(self, prompts: Sequence[str], step: int) -> list[str]:
        """Answers in the order of the prompts. A prompt that is too long gets an empty answer, counted as malformed."""
        return asyncio.run(self._ask_all(prompts, step))

    async def _ask_all(self, prompts: Sequence[str], step: int) -> list[str]:
        self.replies = [None] * len(prompts)
        return list(await asyncio.gather(*(self._ask(prompt, step, i) for i, prompt in enumerate(prompts))))

    async def _ask(self, prompt: str, step: int, number: int) -> str:
        message = {"role": "user", "content": self._control.removed(prompt, keep=TAGS)}
        ids = chat_tokens(self.tokenizer, [message], self.chat_template_kwargs)
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
        self.replies[number] = WrittenReply(list(ids), list(output.token_ids), list(output.log_probs or ()))
        return self._opening + decode_reply(self.tokenizer, output.token_ids)


class EndpointMiner:
    """Asks an endpoint, to compare self-mined skills with those of another model.

    Args:
        settings: address, model, key.
        temperature, top_p, top_k: of sampling; a top_k of -1 keeps all tokens.
        max_tokens: longest answer.
        seed: the run's seed, or None to leave requests unseeded.

    Attributes:
        prompt_tokens, generated_tokens: so far, as far as the endpoint counts them.

    Raises:
        ValueError: `temperature` or `max_tokens` is out of range.
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
        """Answers in the order of the prompts. A request that the endpoint refuses gets an empty answer, counted as
        malformed.

        Raises:
            EndpointError: a request failed after all attempts, an answer has no text, or more than half of the requests
                are refused.
        """
        endpoint = Endpoint(self.settings)

        refused: list[EndpointError] = []

        def ask(number: int, prompt: str) -> Completion:
            try:
                return endpoint.chat(
                    [{"role": "user", "content": prompt}],
                    temperature=self.temperature,
                    max_tokens=self.max_tokens,
                    top_p=self.top_p,
                    top_k=self.top_k,
                    seed=None if self.seed is None else derive_seed(self.seed, "mining", step, number),
                )
            except RequestRefusedError as error:
                logger.warning("mining prompt %d of step %d is refused: %s", number, step, error)
                refused.append(error)
                return Completion("", None, None)

        try:
            with ThreadPoolExecutor(self.settings.parallel) as threads:
                answers = list(threads.map(ask, range(len(prompts)), prompts))
        finally:
            endpoint.close()
        if 2 * len(refused) > len(prompts):
            raise refused[0]
        self.prompt_tokens += sum(answer.prompt_tokens or 0 for answer in answers)
        self.generated_tokens += sum(answer.reply_tokens or 0 for answer in answers)
        return [answer.text for answer in answers]


def make_miner(config: DictConfig, settings: SiriSettings, client: Any, tokenizer: Any) -> PolicyMiner | EndpointMiner:
    """The miner of a run (`siri.mining.endpoint`). Answers are sampled as rollouts are, and seeded where those are."""
    rollout, data = config.actor_rollout_ref.rollout, config.data
    seed = settings.seed if settings.rollout.request_seeds else None
    if settings.mining.endpoint.base_url is not None:
        return EndpointMiner(
            settings.mining.endpoint.endpoint(),
            rollout.temperature,
            settings.mining.max_tokens,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
            seed=seed,
        )
    return PolicyMiner(
        client,
        tokenizer,
        {
            "temperature": rollout.temperature,
            "top_p": rollout.top_p,
            "top_k": rollout.top_k,
            "logprobs": settings.writer.train,
        },
        settings.mining.max_tokens,
        data.max_prompt_length + data.max_response_length - settings.mining.max_tokens,
        seed,
        data.get("apply_chat_template_kwargs", {}),
    )
