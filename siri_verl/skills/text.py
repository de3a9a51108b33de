# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
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
            raise ValueError(f"skill: {name} is empty; a skill says when it applies and what to do")
    return f"When {condition}: {strategy}"
