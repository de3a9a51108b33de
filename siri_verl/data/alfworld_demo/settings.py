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
"""The demo's settings that must agree between warm start, training and evaluation."""

from __future__ import annotations

from pathlib import Path

from siri_verl.envs.alfworld.env import ALFWorldEnv

MAX_TURNS = 12
HISTORY_LENGTH = 12
"""Earlier actions a prompt shows: all of them, so that it tells where one has been."""
TEMPLATE = "compact_actions"
"""Name of the prompt template."""


def demo_env(games: Path | str, split: str | None = None) -> ALFWorldEnv:
    """The environment over a folder written by `generate`, as the demo plays it."""
    return ALFWorldEnv(str(games), split, max_turns=MAX_TURNS)
