# SPDX-License-Identifier: Apache-2.0
"""From a model's reply to the action that the environment gets.

How an action is read is the environment's choice. Its rules are plain data in `info["action_rules"]` of `reset`, so
that they reach every agent loop, also from the process of an environment server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

ACTION_OPEN, ACTION_CLOSE = "<action>", "</action>"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
KEY = "action_rules"
_CJK = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class ActionRules:
    """Reading of actions. The default takes an action as the model wrote it, without the blanks around it.

    Attributes:
        lower_case: actions are lower-cased.
        refuse_cjk: a reply with a CJK ideograph is malformed.
    """

    lower_case: bool = False
    refuse_cjk: bool = False

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> ActionRules:
        """The rules that an environment states.

        Args:
            info: of `reset`.

        Raises:
            ValueError: `info["action_rules"]` is not a mapping of the fields above to bools.
        """
        stated = info.get(KEY)
        if stated is None:
            return cls()
        known = [field.name for field in fields(cls)]
        if not isinstance(stated, Mapping) or not all(k in known and isinstance(v, bool) for k, v in stated.items()):
            raise ValueError(
                f"info[{KEY!r}]={stated!r}: use a dict with bools under {' and '.join(known)}, or leave it out"
            )
        return cls(**stated)

    def refuses(self, text: str) -> bool:
        """Whether a reply is malformed because of its script."""
        return self.refuse_cjk and _CJK.search(text) is not None

    def normalise(self, action: str) -> str:
        """The action as the environment gets it."""
        action = action.strip()
        return action.lower() if self.lower_case else action


REFERENCE = {"lower_case": True, "refuse_cjk": True}
"""The rules of GiGPO's reference code for WebShop and ALFWorld (verl-agent, agent_system/environments/env_package)."""

AS_WRITTEN = ActionRules()


@dataclass(frozen=True)
class ParsedReply:
    """A model's reply.

    Attributes:
        action: what goes to the environment: text between the first action tags, normalised by the environment's
            rules; "" if malformed.
        valid: action tags and think tags were found, and the rules do not refuse the script. With the rules of WebShop
            and ALFWorld this is the format test of GiGPO's reference code.
        problem: why it is not valid, None when it is.
    """

    action: str
    valid: bool
    problem: str | None = None


def parse_reply(text: str, rules: ActionRules = AS_WRITTEN) -> ParsedReply:
    """Read the action out of a reply. A malformed reply gives the empty action, which environments treat as a no-op.

    Args:
        text: the reply.
        rules: of the environment (`ActionRules.of` the info of its reset).
    """
    match = _first(ACTION, ACTION_CLOSE, text)
    if match is None:
        return ParsedReply("", False, "no_action_tags")
    if _first(THOUGHT, THINK_CLOSE, text) is None:
        return ParsedReply("", False, "no_think_tags")
    if rules.refuses(text):
        return ParsedReply("", False, "cjk")
    return ParsedReply(rules.normalise(match.group(1)), True)


def _first(pattern: re.Pattern[str], close: str, text: str) -> re.Match[str] | None:
    """`pattern.search(text)`, in linear time also for a text of opening tags: no match ends past the last `close`."""
    return pattern.search(text, 0, text.rfind(close) + len(close))


def well_formed(action: str, thought: str = "so") -> str:
    """A reply as the prompts ask for it."""
    return f"{THINK_OPEN}{thought}{THINK_CLOSE}{ACTION_OPEN}{action}{ACTION_CLOSE}"


def fill_placeholder(action: str, task: str) -> str:
    """An offered action with words of the task where it asks for free text: `search[<your query>]`."""
    begin, end = action.find("<your"), action.find(">")
    return action if begin < 0 or end < begin else action[:begin] + " ".join(task.split()[:6]) + action[end + 1 :]
