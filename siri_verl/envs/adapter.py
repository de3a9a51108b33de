# SPDX-License-Identifier: Apache-2.0
"""A usual Gymnasium environment with text in and text out, as one that siri_verl trains on.

Such an environment answers `reset(seed=...)` and `step(action)` and knows neither tasks by name nor anchors.
`TextEnvAdapter` adds the seven keys of `siri_verl.envs.base.TurnInfo`, each with a stated default that an argument
replaces.

    class Maze(TextEnvAdapter):
        def __init__(self):
            super().__init__(MyMaze(), tasks={f"maze-{k}": Task("find the exit", seed=k) for k in range(100)})

    gymnasium.register("Maze-v0", entry_point=Maze)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from siri_verl.envs.base import EpisodeOverError, TextEnv, UnknownTaskError, read_reward

ACTION_KEYS = ("admissible_actions", "admissible_commands", "available_actions", "valid_actions")
"""Keys of an `info` in which an environment may list its actions; the first that is there counts."""


@dataclass(frozen=True)
class Task:
    """How a task begins.

    Attributes:
        text: what the agent is asked to do.
        seed: of the environment's `reset`; a task has one seed, so it is the same in every run and in both arms.
        options: of the environment's `reset`.
        category: a name for results by kind of task.
    """

    text: str
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    category: str = ""


class TextEnvAdapter(TextEnv):
    """Args:
    env: the environment. Observations become text by `str`; actions are texts, or names of `actions`.
    tasks: task id -> task. Ids are permanent.
    anchor: (observation, info) -> the state before acting. Default: the observation. It must be equal for equal
        states and different for different ones: leave out counters of turns, add what the observation hides.
    actions: names of a Discrete action space's actions, in its order; or (observation, info) -> the actions that have
        an effect. Default: the list in `info` under one of `ACTION_KEYS`, else none is listed.
    success: (sum of rewards, terminated, info) -> whether the task is solved. Default: `info["success"]` or
        `info["is_success"]` where it is stated, else a terminated episode with a positive sum of rewards.
    max_turns: turns after which an episode is truncated; None leaves it to the environment.

    Raises:
        ValueError: no tasks, or names that do not fit the action space.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        tasks: Mapping[str, Task],
        *,
        anchor: Callable[[str, Mapping[str, Any]], str] | None = None,
        actions: Sequence[str] | Callable[[str, Mapping[str, Any]], Sequence[str]] | None = None,
        success: Callable[[float, bool, Mapping[str, Any]], bool] | None = None,
        max_turns: int | None = None,
        render_mode: str | None = None,
    ):
        super().__init__(render_mode)
        if not tasks:
            raise ValueError("TextEnvAdapter: tasks is empty; give at least one task id with its Task")
        size = getattr(env.action_space, "n", None)
        self._names = None if actions is None or callable(actions) else list(actions)
        if size is not None and (self._names is None or len(self._names) != size):
            raise ValueError(
                f"TextEnvAdapter: actions={self._names}; the action space has {size} actions: name each, in its order"
            )
        self.env, self.tasks, self.max_turns = env, dict(tasks), max_turns
        self._actions = actions if callable(actions) else None
        self._anchor = anchor or (lambda observation, info: observation)
        self._success = success or _solved
        self._task_id: str | None = None

    def task_ids(self) -> list[str]:
        """Every task id, in the order of `tasks`."""
        return list(self.tasks)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """See `TextEnv.reset`. The environment's seed is the task's; without one, `seed`."""
        super(TextEnv, self).reset(seed=seed)
        task_id = self._choose_task(options)
        if task_id not in self.tasks:
            raise UnknownTaskError(f"task_id {task_id!r} is not one of the {len(self.tasks)} tasks")
        self._task_id, task = task_id, self.tasks[task_id]
        self._turns, self._total = 0, 0.0
        start = seed if task.seed is None else task.seed
        observation, info = self.env.reset(seed=start, options=dict(task.options) or None)
        self._last_observation, self._last_info = str(observation), info
        return self._last_observation, self._info(True, False, False)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """See `TextEnv.step`. An action that is not listed does not reach the environment and costs a turn."""
        if self._task_id is None:
            raise EpisodeOverError("no episode is running; call reset first")
        self._turns += 1
        listed = self._listed()
        known = bool(action) and (not listed or action in listed)
        reward, terminated, truncated = 0.0, False, False
        if known:
            given: Any = self._names.index(action) if self._names else action
            observation, value, terminated, truncated, info = self.env.step(given)
            reward, terminated, truncated = read_reward(value), bool(terminated), bool(truncated)
            self._last_observation, self._last_info = str(observation), info
        self._total += reward
        solved = terminated and bool(self._success(self._total, terminated, self._last_info))
        truncated = not terminated and (truncated or self._turns == self.max_turns)
        info = self._info(known, solved, terminated or truncated)
        if terminated or truncated:
            self._task_id = None
        return self._last_observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _listed(self) -> list[str]:
        if self._names is not None:
            return self._names
        if self._actions is not None:
            return list(self._actions(self._last_observation, self._last_info))
        return list(next((self._last_info[key] for key in ACTION_KEYS if key in self._last_info), ()))

    def _info(self, known: bool, solved: bool, over: bool) -> dict[str, Any]:
        task = self.tasks[str(self._task_id)]
        return {
            "task": task.text,
            "task_id": self._task_id,
            "category": task.category,
            "admissible_actions": [] if over else self._listed(),
            "anchor": str(self._anchor(self._last_observation, self._last_info)),
            "action_admissible": known,
            "success": solved,
            "score": float(solved),
        }


def _solved(total: float, terminated: bool, info: Mapping[str, Any]) -> bool:
    for key in ("success", "is_success"):
        if key in info:
            return bool(info[key])
    return terminated and total > 0
