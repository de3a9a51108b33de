# SPDX-License-Identifier: Apache-2.0
"""From a turn to prompt tokens that fit: history is dropped first, oldest pair first; nothing is cut in the middle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from verl.utils import normalize_token_ids

from siri_verl.failures import ConfigError
from siri_verl.settings.schema import PromptSettings
from siri_verl.trajectory.prompts import TEMPLATES, TurnView, render_prompt


class PromptTooLongError(ValueError):
    """A turn does not fit into the prompt length even without history."""


@dataclass(frozen=True)
class BuiltPrompt:
    """A prompt's tokens and the turn they show (its history may be shorter than asked for)."""

    token_ids: list[int]
    view: TurnView
    history_dropped: int


class PromptBuilder:
    """Renders turns with a template and tokenises them with the model's chat template.

    Args:
        tokenizer: the policy's tokenizer.
        config: template and history length.
        max_prompt_length: tokens (data.max_prompt_length).
        chat_template_kwargs: passed to the chat template (data.apply_chat_template_kwargs).
    """

    def __init__(
        self,
        tokenizer: Any,
        config: PromptSettings,
        max_prompt_length: int,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ):
        self.tokenizer = tokenizer
        self.template = TEMPLATES[config.template]
        self.history_length = config.history_length
        self.max_prompt_length = max_prompt_length
        self.chat_template_kwargs = dict(chat_template_kwargs or {})

    def tokens(self, view: TurnView) -> list[int]:
        """Token ids of a turn's prompt, whatever their number."""
        messages = [{"role": "user", "content": render_prompt(view, self.template)}]
        ids = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, **self.chat_template_kwargs
        )
        return normalize_token_ids(ids)

    def build(self, view: TurnView) -> BuiltPrompt:
        """The longest prompt of this turn that fits: history pairs are dropped from the oldest on.

        Raises:
            PromptTooLongError: it does not fit even without history; the message gives both lengths.
        """
        full = len(view.history)
        while True:
            ids = self.tokens(view)
            if len(ids) <= self.max_prompt_length:
                return BuiltPrompt(ids, view, full - len(view.history))
            if not view.history:
                raise PromptTooLongError(
                    f"the prompt of turn {view.turn} has {len(ids)} tokens without any history; "
                    f"data.max_prompt_length={self.max_prompt_length}"
                )
            view = replace(view, history=view.history[1:])

    def build_with_skill(self, view: TurnView) -> BuiltPrompt:
        """As `build`; where the skill block does not fit even without history, the plain prompt of the turn.

        The caller sees it by the result's `view.skill`.

        Raises:
            PromptTooLongError: the plain prompt does not fit either.
        """
        try:
            return self.build(view)
        except PromptTooLongError:
            if view.skill is None:
                raise
            return self.build(view.plain)

    def first(self, task: str, observation: str, actions: Sequence[str], where: str) -> BuiltPrompt:
        """The first turn's prompt.

        Raises:
            ConfigError: data.max_prompt_length is too small for it.
        """
        try:
            return self.build(TurnView(task=task, observation=observation, admissible_actions=tuple(actions)))
        except PromptTooLongError as error:
            raise ConfigError(
                f"data.max_prompt_length={self.max_prompt_length}: too small for the first observation of {where} "
                f"({error}); "
                "raise it"
            ) from error
