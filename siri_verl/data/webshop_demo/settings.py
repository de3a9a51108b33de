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

from siri_verl.data.webshop_demo.layouts import PER_PAGE
from siri_verl.envs.webshop.env import WebShopEnv

MAX_TURNS = 8
HISTORY_LENGTH = 3
"""Earlier actions a prompt shows: enough for the longest detour of a procedure."""

ENV_KWARGS = {"text": "compact", "results_per_page": PER_PAGE, "max_turns": MAX_TURNS}


def demo_env(catalogue: Path | str, split: str | None = None) -> WebShopEnv:
    """The demo environment over a folder written by `generate`."""
    return WebShopEnv(Path(catalogue) / "store", split, **ENV_KWARGS)
