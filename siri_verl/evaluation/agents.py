# SPDX-License-Identifier: Apache-2.0
"""Agents: a model in this process or behind an endpoint, and its prompts.

`TokenAgent` builds its prompts as the rollouts do, token by token the same. `ChatAgent` takes the messages of a
prompting (siri_verl/evaluation/prompting/) and works with either kind of model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from siri_verl.endpoint import Completion, ContextLengthError, Endpoint, Message
from siri_verl.light.policy import Sampling
from siri_verl.trajectory.decoding import TAGS, ControlTokens, decode_reply, implied_opening, reply_opening
from siri_verl.trajectory.episode import Episode
from siri_verl.trajectory.prompt_builder import PromptBuilder, PromptTooLongError, chat_tokens
from siri_verl.trajectory.turn import Reply


class Policy(Protocol):
    """A model that takes tokens."""

    tokenizer: Any

    def submit(self, name: str, prompt_ids: list[int], seed: int) -> Future[list[int]]:
        """Ask for a reply; the future gives its token ids."""


@dataclass(frozen=True)
class Variant:
    """One way to ask for a turn.

    Attributes:
        messages: the conversation.
        skill_missing: it leaves out the plan's skill block to be shorter.
        history_dropped: earlier turns it leaves out to be shorter.
    """

    messages: tuple[Message, ...]
    skill_missing: bool = False
    history_dropped: int = 0


class ChatModel(Protocol):
    """A model that takes messages."""

    def submit(self, name: str, variants: Iterable[Variant], seed: int) -> Future[tuple[Variant, Completion]]:
        """Ask with the first variant that fits; the future's exception is PromptTooLongError where none does."""


class Prompting(Protocol):
    """From an episode to the messages of its next turn."""

    def variants(self, episode: Episode) -> Iterable[Variant]:
        """The next turn's messages, the fullest first, then shorter and shorter ones."""


def then(future: Future, change: Callable[[Any], Any]) -> Future:
    """A future of `change(result)`."""
    changed: Future = Future()

    def done(done_future: Future) -> None:
        try:
            changed.set_result(change(done_future.result()))
        except BaseException as error:
            changed.set_exception(error)

    future.add_done_callback(done)
    return changed


def failed(error: Exception) -> Future:
    """A future that has failed."""
    future: Future = Future()
    future.set_exception(error)
    return future


class TokenAgent:
    """A policy under the plain prompt, or with a skill in it, as in training.

    Args:
        policy: answers tokens.
        prompts: renders turns and fits them into the prompt length.
    """

    def __init__(self, policy: Policy, prompts: PromptBuilder):
        self.policy, self.prompts = policy, prompts

    def ask(self, episode: Episode, name: str, seed: int) -> Future[Reply]:
        """See `siri_verl.evaluation.episodes.Agent`."""
        try:
            prompt = self.prompts.build_with_skill(episode.view())
        except PromptTooLongError as error:
            return failed(error)

        def reply(token_ids: list[int]) -> Reply:
            text = decode_reply(self.policy.tokenizer, token_ids)
            counts = len(prompt.token_ids), len(token_ids)
            return Reply(text, *counts, prompt.skill_missing, prompt.history_dropped, self.prompts.opening)

        return then(self.policy.submit(name, prompt.token_ids, seed), reply)


class ChatAgent:
    """A chat model under a prompting."""

    def __init__(self, model: ChatModel, prompting: Prompting):
        self.model, self.prompting = model, prompting

    def ask(self, episode: Episode, name: str, seed: int) -> Future[Reply]:
        """See `siri_verl.evaluation.episodes.Agent`."""

        def reply(answer: tuple[Variant, Completion]) -> Reply:
            variant, completion = answer
            counts = completion.prompt_tokens, completion.reply_tokens
            opening = completion.opening or implied_opening(completion.text)
            return Reply(completion.text, *counts, variant.skill_missing, variant.history_dropped, opening)

        return then(self.model.submit(name, self.prompting.variants(episode), seed), reply)


class LocalChat:
    """A policy of this process as a chat model.

    Args:
        policy: answers tokens.
        max_prompt_length: tokens of the longest prompt.
        chat_template_kwargs: passed to the chat template.
    """

    def __init__(self, policy: Policy, max_prompt_length: int, chat_template_kwargs: Mapping[str, Any] | None = None):
        self.policy, self.max_prompt_length = policy, max_prompt_length
        self.chat_template_kwargs = dict(chat_template_kwargs or {})
        self.opening = reply_opening(policy.tokenizer, self.chat_template_kwargs)
        self._control = ControlTokens(policy.tokenizer)

    def submit(self, name: str, variants: Iterable[Variant], seed: int) -> Future[tuple[Variant, Completion]]:
        """See `ChatModel`."""
        lengths = []
        for variant in variants:
            messages = [{**m, "content": self._control.removed(m["content"], keep=TAGS)} for m in variant.messages]
            ids = chat_tokens(self.policy.tokenizer, messages, self.chat_template_kwargs)
            if len(ids) <= self.max_prompt_length:
                break
            lengths.append(len(ids))
        else:
            return failed(
                PromptTooLongError(
                    f"{name}: the shortest prompt has {min(lengths)} tokens; max_prompt_length={self.max_prompt_length}"
                )
            )

        def read(token_ids: list[int]) -> tuple[Variant, Completion]:
            text = decode_reply(self.policy.tokenizer, token_ids)
            return variant, Completion(text, len(ids), len(token_ids), self.opening)

        return then(self.policy.submit(name, ids, seed), read)


class EndpointChat:
    """An endpoint as a chat model; the endpoint itself reports a prompt that is too long.

    Args:
        endpoint: where to ask.
        sampling: of every request.
        max_response_length: tokens of the longest reply.
    """

    def __init__(self, endpoint: Endpoint, sampling: Sampling, max_response_length: int):
        self.endpoint = endpoint
        self.options = {**asdict(sampling), "max_tokens": max_response_length}
        self._threads = ThreadPoolExecutor(endpoint.settings.parallel, thread_name_prefix="endpoint")

    def submit(self, name: str, variants: Iterable[Variant], seed: int) -> Future[tuple[Variant, Completion]]:
        """See `ChatModel`."""
        return self._threads.submit(self._ask, name, variants, seed)

    def close(self) -> None:
        """End the threads; requests that wait for one are dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.endpoint.close()

    def _ask(self, name: str, variants: Iterable[Variant], seed: int) -> tuple[Variant, Completion]:
        refusal: ContextLengthError | None = None
        for variant in variants:
            try:
                return variant, self.endpoint.chat(variant.messages, seed=seed, **self.options)
            except ContextLengthError as error:
                refusal = error
        raise PromptTooLongError(f"{name}: {refusal}") from refusal
