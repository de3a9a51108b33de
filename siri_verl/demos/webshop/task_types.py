# SPDX-License-Identifier: Apache-2.0
"""The demo shop's task type: the department, read from the instruction as the agent sees it."""

from __future__ import annotations

import re

from siri_verl.demos.webshop.words import NOUNS

UNKNOWN = "unknown"
_DEPARTMENT = {noun: department for department, nouns in NOUNS.items() for noun in nouns}
_NOUN = re.compile(r"\b(" + "|".join(_DEPARTMENT) + r")\b")


def department(text: str) -> str:
    """The department of the first product noun in a task text."""
    match = _NOUN.search(text.lower())
    return _DEPARTMENT[match.group(1)] if match else UNKNOWN
