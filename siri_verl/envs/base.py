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
"""The environment interface: Gymnasium environments whose observations and actions are text.

A task is named by a stable `task_id`; `reset(seed=..., options={"task_id": ...})` starts it. Everything an agent loop needs
beside the observation travels in `info`, whose keys are listed in `TurnInfo`. Anyone's environment plugs in by its gymnasium id
as long as `info` carries these keys (`siri_verl.envs.checker.check_text_env` says what is missing).
"""

from __future__ import annotations

from typing import Any, TypedDict

import gymnasium


class TurnInfo(TypedDict, total=False):
    """What `reset` and `step` say beside the observation. All keys are required unless marked optional."""

    task: str
    """The task text the agent is given; constant over an episode."""
    task_id: str
    """Names one task for ever."""
    admissible_actions: list[str]
    """Actions that would do something now, in display order. A free argument is written `search[<your query>]`."""
    anchor: str
    """The state before acting, without history or instructions: rows with equal anchors form a step group in GiGPO."""
    action_admissible: bool
    """Whether the action just taken did something (True after `reset`)."""
    success: bool
    """Whether the task is solved. Meaningful once the episode ended; False before."""
    score: float
    """The environment's native score in [0, 1]; 0 before the episode ended."""
    category: str
    """Optional: a name for results by kind of task (department, task type). Never shown to the agent."""


REQUIRED_INFO_KEYS = ("task", "task_id", "admissible_actions", "anchor", "action_admissible", "success", "score")


class UnknownTaskError(KeyError):
    """`options["task_id"]` names no task of this environment."""


class TextEnv(gymnasium.Env[str, str]):
    """Base class of the environments shipped here.

    The reward of `step` is in native units: the score when the episode ends, 0 before. Turning it into a training reward
    (for example 10 on success, else 0) is the agent loop's business. An empty action is a no-op that costs a turn.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}

    def task_ids(self) -> list[str]:
        """Every task id this environment knows, in a fixed order."""
        raise NotImplementedError

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: seeds every random choice of the episode.
            options: `{"task_id": str}` chooses the task; without it one is drawn with `seed`.

        Returns:
            (observation, info) with the keys of `TurnInfo`.

        Raises:
            UnknownTaskError: the task id is not known; the message names it and how many are.
        """
        raise NotImplementedError

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """One turn: (observation, reward, terminated, truncated, info)."""
        raise NotImplementedError
