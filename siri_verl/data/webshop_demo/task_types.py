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
"""The demo shop's task type: the department, read from the instruction as the agent sees it."""

from __future__ import annotations

import re

from siri_verl.data.webshop_demo.words import NOUNS

UNKNOWN = "unknown"
_DEPARTMENT = {noun: department for department, nouns in NOUNS.items() for noun in nouns}
_NOUN = re.compile(r"\b(" + "|".join(_DEPARTMENT) + r")\b")


def department(text: str) -> str:
    """The department of the first product noun in a task text."""
    match = _NOUN.search(text.lower())
    return _DEPARTMENT[match.group(1)] if match else UNKNOWN
