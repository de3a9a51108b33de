# SPDX-License-Identifier: Apache-2.0
"""Checks that a prompt holds its content and that a well-formed reply arrives: chat template, tokenizer, parser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from siri_verl.core.phases import INTERNALIZATION, WARM_UP
from siri_verl.envs.replies import THINK_CLOSE, THINK_OPEN, ActionRules, fill_placeholder, parse_reply
from siri_verl.failures import ConfigError
from siri_verl.settings.schema import SiriSettings
from siri_verl.trajectory.action_span import action_span
from siri_verl.trajectory.decoding import apply_chat_template, decode_reply
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.turn import TurnView

_ACTIONS = 20
"""Offered actions per task that are written into a reply until one arrives."""


class FormatCheck:
    """Looks at first prompts and at replies to them.

    Args:
        config: verl's configuration.
        builder: builds the prompts of the run.
    """

    def __init__(self, config: DictConfig, builder: PromptBuilder):
        model = config.actor_rollout_ref.model
        custom = model.get("custom_chat_template")
        self.template = (
            f"actor_rollout_ref.model.custom_chat_template={custom!r}"
            if custom
            else f"actor_rollout_ref.model.path={model.path!r}: its chat template"
        )
        self.model, self.builder = f"actor_rollout_ref.model.path={model.path!r}", builder
        self._arrived = False
        self._lost = ""

    def look_at(self, where: str, observation: str, info: Mapping[str, Any]) -> None:
        """Check the first prompt of a task and a reply to it.

        Args:
            where: names the task.
            observation, info: of reset.

        Raises:
            ConfigError: the prompt is too long or lacks task or observation, or a well-formed reply is malformed once
                it went through the tokenizer.
        """
        task, actions = str(info["task"]), info["admissible_actions"]
        text = self._text(TurnView(task, observation, tuple(actions)))
        self.builder.first(task, observation, actions, where=where)
        for name, part in (("task", task), ("observation", observation)):
            if _letters(self.builder.clean(part)) not in _letters(text):
                raise ConfigError(
                    f"{self.template}: the first prompt of {where} does not contain the {name} {part[:60]!r}; use a "
                    "template that renders message['content'] as text"
                )
        try:
            rules = ActionRules.of(info)
        except ValueError as error:
            raise ConfigError(f"siri.environment.name: {where}: {error}") from error
        for action in actions[:_ACTIONS]:
            if self._arrived:
                break
            self._send(fill_placeholder(action, task), rules)

    def finish(self) -> None:
        """All tasks were looked at.

        Raises:
            ConfigError: no offered action of any task arrived as it was written.
        """
        if not self._arrived and self._lost:
            raise ConfigError(
                f"{self.model}: its tokenizer cannot write the environment's actions: {self._lost}; use another model"
            )

    def _text(self, view: TurnView) -> str:
        message = {"role": "user", "content": self.builder.message(view)}
        return apply_chat_template(self.builder.tokenizer, [message], self.builder.chat_template_kwargs, tokenize=False)

    def _send(self, action: str, rules: ActionRules) -> None:
        """Write an action into a reply as the model is to write it, and read it as the agent loop does."""
        opening, tokenizer = self.builder.opening, self.builder.tokenizer
        thought = {"": f"{THINK_OPEN} so {THINK_CLOSE} ", THINK_OPEN: f"so {THINK_CLOSE} "}.get(opening, "")
        ids = tokenizer.encode(f"{thought}<action> {action} </action>", add_special_tokens=False)
        text = decode_reply(tokenizer, ids)
        parsed = parse_reply(opening + text, rules)
        if parsed.problem in ("no_action_tags", "no_think_tags"):
            raise ConfigError(
                f"{self.model}: a well-formed reply reaches the environment as {text!r}, which is malformed "
                f"({parsed.problem}); use a tokenizer that keeps the tags <think> </think> <action> </action>"
            )
        start, end = action_span(tokenizer, ids)
        self._arrived = end > start and _letters(parsed.action) == _letters(rules.normalise(action))
        if not self._arrived:
            self._lost = f"{action!r} arrives as {parsed.action!r}"


def check_context(settings: SiriSettings, builder: PromptBuilder) -> None:
    """Internalization without thoughts needs a prompt after which an action can come.

    Raises:
        ConfigError: the prompt ends in an opened think block.
    """
    used = settings.phases.fixed == INTERNALIZATION or (
        settings.phases.fixed != WARM_UP and INTERNALIZATION not in settings.phases.skip
    )
    if used and settings.internalization.context == "no_think" and builder.opening == THINK_OPEN:
        raise ConfigError(
            "siri.internalization.context='no_think': the chat template opens a think block at the end of the prompt, "
            "so an action cannot come right after it; use think"
        )


def _letters(text: str) -> str:
    """The text without blanks, which templates and decoders may change."""
    return "".join(text.split())
