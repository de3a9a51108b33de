# SPDX-License-Identifier: Apache-2.0
"""How a skill reads in a prompt."""

from __future__ import annotations


def one_line(text: str) -> str:
    """White space collapsed: a skill is one line, whatever a model wrote."""
    return " ".join(text.split())


def skill_block(condition: str, strategy: str) -> str:
    """The text of a prompt's skill section.

    Args:
        condition: when the skill applies, without "when".
        strategy: what to do then.

    Raises:
        ValueError: one of them is empty.
    """
    condition, strategy = one_line(condition), one_line(strategy)
    for name, text in (("condition", condition), ("strategy", strategy)):
        if not text:
            raise ValueError(f"skill: {name} is empty; a skill states when it applies and what to do")
    return f"When {condition}: {strategy}"
