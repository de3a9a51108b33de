# SPDX-License-Identifier: Apache-2.0
"""From a turn to prompt tokens that fit: the oldest history pairs go first, then the skill; no text is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from verl.utils import normalize_token_ids

from siri_verl.failures import ConfigError
from siri_verl.trajectory.decoding import ControlTokens, apply_chat_template, reply_opening
from siri_verl.trajectory.prompts import TEMPLATES, PromptSettings, render_prompt
from siri_verl.trajectory.turn import TurnView


class PromptTooLongError(ValueError):
    """A turn does not fit into the prompt length even without history."""


@dataclass(frozen=True)
class BuiltPrompt:
    """A prompt's tokens.

    Attributes:
        token_ids: the tokens.
        view: the turn they show; its history may be shorter than asked for.
        history_dropped: history pairs left out for length.
        skill_missing: a skill was to be shown and did not fit.
    """

    token_ids: list[int]
    view: TurnView
    history_dropped: int
    skill_missing: bool = False


def chat_tokens(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], chat_template_kwargs: Mapping[str, Any]
) -> list[int]:
    """Token ids of a conversation, ready for the assistant's reply.

    Args:
        tokenizer: the policy's.
        messages: with "role" and "content".
        chat_template_kwargs: passed to the chat template (data.apply_chat_template_kwargs).
    """
    return normalize_token_ids(apply_chat_template(tokenizer, messages, chat_template_kwargs, tokenize=True))


class PromptBuilder:
    """Renders turns with a template and tokenises them with the model's chat template.

    Args:
        tokenizer: the policy's tokenizer.
        settings: template and history length.
        max_prompt_length: tokens (data.max_prompt_length).
        chat_template_kwargs: passed to the chat template (data.apply_chat_template_kwargs).
    """

    def __init__(
        self,
        tokenizer: Any,
        settings: PromptSettings,
        max_prompt_length: int,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ):
        self.tokenizer = tokenizer
        self.template = TEMPLATES[settings.template]
        self.history_length = settings.history_length
        self.max_prompt_length = max_prompt_length
        self.chat_template_kwargs = dict(chat_template_kwargs or {})
        self.clean = ControlTokens(tokenizer).removed

    @cached_property
    def opening(self) -> str:
        """What the prompt holds of the reply (`siri_verl.trajectory.decoding.reply_opening`)."""
        return reply_opening(self.tokenizer, self.chat_template_kwargs)

    def message(self, view: TurnView) -> str:
        """The user message of a turn. Control tokens in the texts of environment and bank are taken out."""
        clean = self.clean
        safe = replace(
            view,
            task=clean(view.task),
            skill_text=None if view.skill_text is None else clean(view.skill_text),
            observation=clean(view.observation),
            admissible_actions=tuple(map(clean, view.admissible_actions)),
            history=tuple((clean(observation), clean(action)) for observation, action in view.history),
        )
        return render_prompt(safe, self.template)

    def tokens(self, view: TurnView) -> list[int]:
        """Token ids of a turn's prompt, whatever their number."""
        message = {"role": "user", "content": self.message(view)}
        return chat_tokens(self.tokenizer, [message], self.chat_template_kwargs)

    def build(self, view: TurnView) -> BuiltPrompt:
        """The longest prompt of this turn that fits: of the last `history_length` pairs the oldest are dropped first.

        Raises:
            PromptTooLongError: it does not fit even without history; the message gives both lengths.
        """
        view = view.recent(self.history_length)
        wanted = len(view.history)
        while True:
            ids = self.tokens(view)
            if len(ids) <= self.max_prompt_length:
                return BuiltPrompt(ids, view, wanted - len(view.history))
            if not view.history:
                raise PromptTooLongError(
                    f"the prompt of turn {view.turn} has {len(ids)} tokens without any history; "
                    f"data.max_prompt_length={self.max_prompt_length}"
                )
            view = replace(view, history=view.history[1:])

    def build_with_skill(self, view: TurnView) -> BuiltPrompt:
        """As `build`; where the skill block does not fit even without history, the plain prompt of the turn, and
        `skill_missing` is set.

        Raises:
            PromptTooLongError: the plain prompt does not fit either.
        """
        try:
            return self.build(view)
        except PromptTooLongError:
            if view.skill_text is None:
                raise
            return replace(self.build(view.plain), skill_missing=True)

    def first(self, task: str, observation: str, actions: Sequence[str], where: str) -> BuiltPrompt:
        """The first turn's prompt.

        Args:
            task: the task text.
            observation: of the first turn.
            actions: admissible in the first turn.
            where: names the environment in the error.

        Raises:
            ConfigError: data.max_prompt_length is too small for it.
        """
        try:
            return self.build(TurnView(task=task, observation=observation, admissible_actions=tuple(actions)))
        except PromptTooLongError as error:
            raise ConfigError(
                f"data.max_prompt_length={self.max_prompt_length}: too small for the first observation of {where} "
                f"({error}); raise it"
            ) from error
