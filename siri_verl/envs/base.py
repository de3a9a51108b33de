# SPDX-License-Identifier: Apache-2.0
"""The environment interface: Gymnasium environments whose observations and actions are text.

A task is named by a stable `task_id`; `reset(seed=..., options={"task_id": ...})` starts it. What an agent loop
needs in addition to the observation is in `info`, whose keys are listed in `TurnInfo`. An environment whose `info` has
these keys is selected by its gymnasium id (`siri_verl.envs.checker.check_text_env` reports what is missing).
"""

from __future__ import annotations

import contextlib
import math
from typing import Any, TypedDict

import gymnasium

from siri_verl.envs.free_text import FreeText


class TurnInfo(TypedDict, total=False):
    """What `reset` and `step` return in addition to the observation. All keys are required unless marked optional."""

    task: str
    """The task text the agent is given; constant over an episode."""
    task_id: str
    """Names one task permanently."""
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
    answers: list[str]
    """Optional, from `reset` only: the solution of this task (target ids, option values). Never shown
    to the agent; a mined skill that quotes one is rejected."""
    explanation: str
    """Optional, from the `step` that ends the episode: why the score is what it is, in one line. Never shown to the
    agent."""
    action_rules: dict[str, bool]
    """Optional, from `reset` only: how actions in replies are read, the fields of
    `siri_verl.envs.replies.ActionRules`. Without it an action reaches `step` as the model wrote it, without the
    blanks around it."""


RAISED = (Exception, SystemExit)
"""What an environment may raise without an effect on other episodes. Planners and argument parsers raise SystemExit."""

REQUIRED_INFO_KEYS = ("task", "task_id", "admissible_actions", "anchor", "action_admissible", "success", "score")


def read_reward(reward: Any) -> float:
    """The reward of a step, of any real type (bool, int, float, NumPy's), as a float.

    Raises:
        ValueError: it is not a finite number.
    """
    number = math.nan
    if not isinstance(reward, (str, bytes)):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            number = float(reward)
    if not math.isfinite(number):
        raise ValueError(f"the reward is {reward!r}; it must be a finite number")
    return number


class UnknownTaskError(KeyError):
    """`options["task_id"]` names no task of this environment."""

    # KeyError would print its message quoted and escaped.
    __str__ = Exception.__str__


class DownloadError(RuntimeError):
    """Official data could not be fetched, or the answer is not that data. The message states what to do by hand."""


class UnknownSplitError(ValueError):
    """The environment has no split of this name; the message lists those it has."""


class EpisodeOverError(RuntimeError):
    """`step` was called before `reset`, or after the episode's end."""


class TextEnv(gymnasium.Env[str, str]):
    """Base class of the environments shipped here.

    The reward of `step` is in native units: the score when the episode ends, 0 before. Turning it into a training
    reward (for example 10 on success, else 0) is the agent loop's business. An empty action is a no-op that costs a
    turn.
    """

    # Text has no frame rate; gymnasium's checker asks for one wherever there is a render mode.
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(self, render_mode: str | None = None):
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode: got {render_mode!r}; a text environment knows None and 'ansi'")
        self.render_mode = render_mode
        self.observation_space = FreeText()
        self.action_space = FreeText(max_length=10_000)
        self._last_observation = ""

    def render(self) -> str | None:
        """The last observation when `render_mode="ansi"`, else None."""
        return self._last_observation if self.render_mode == "ansi" else None

    def task_ids(self) -> list[str]:
        """Every task id of the chosen split (of all splits when none was chosen), in a fixed order."""
        raise NotImplementedError

    def split_names(self) -> list[str]:
        """What the environment's `split` setting may be; empty if it has none."""
        return []

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
        """One turn: (observation, reward, terminated, truncated, info).

        Raises:
            EpisodeOverError: no episode is running.
        """
        raise NotImplementedError

    def _choose_task(self, options: dict[str, Any] | None) -> str:
        """The task id asked for, else one drawn. Call it after gymnasium's own `reset(seed=seed)`."""
        task_id = (options or {}).get("task_id")
        if task_id is not None:
            if not isinstance(task_id, str):
                raise TypeError(f"options['task_id']: expected a string, got {type(task_id).__name__} {task_id!r}")
            return task_id
        known = self.task_ids()
        return known[int(self.np_random.integers(len(known)))]
