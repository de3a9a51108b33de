# SPDX-License-Identifier: Apache-2.0
"""Checks the contract of an environment for training: `check_text_env` plays a few episodes and reports what is wrong.

Beside Gymnasium's own checker, which looks at signatures, spaces and seeding, this looks at what training relies on:
the keys of `info`, stable task ids, episodes that repeat under a seed, no-ops, the end of episodes. Actions are played
as in training: written into a reply, read out of it by the environment's rules (`siri_verl.envs.replies`).
"""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

from siri_verl.envs.base import RAISED, REQUIRED_INFO_KEYS, UnknownTaskError, read_reward
from siri_verl.envs.checker_comparison import compared, difference, required_keys
from siri_verl.envs.replies import ActionRules, fill_placeholder, parse_reply, well_formed

_TYPES: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "task_id": (str,),
    "admissible_actions": (list,),
    "anchor": (str,),
    "action_admissible": (bool, np.bool_),
    "success": (bool, np.bool_),
    "score": (float, int, np.floating, np.integer),
}
_UNKNOWN_TASK = "siri_verl checker: no such task"
_NO_OP = "siri_verl checker: not an action"


class EnvironmentCheckError(AssertionError):
    """An environment breaks the contract.

    Attributes:
        problems: everything found, one sentence each.
    """

    def __init__(self, environment: str, problems: list[str]):
        self.problems = problems
        listing = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{environment}: {len(problems)} problem(s)\n{listing}")


@dataclass(frozen=True)
class CheckReport:
    """What a passed check saw.

    Attributes:
        tasks: how many task ids the environment lists.
        episodes: episodes played.
        turns: turns taken in them.
        endings: "terminated", "truncated", "unfinished" -> episodes.
        warnings: doubts that break nothing.
    """

    tasks: int
    episodes: int
    turns: int
    endings: dict[str, int]
    warnings: tuple[str, ...]


class _Checker:
    def __init__(self, env: gymnasium.Env, episodes: int, max_turns: int, seed: int):
        self.env, self.episodes, self.max_turns, self.seed = env, episodes, max_turns, seed
        self.problems: list[str] = []
        self.doubts: list[str] = []
        self.turns = 0
        self.endings = {"terminated": 0, "truncated": 0, "unfinished": 0}

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def info(self, info: Any, where: str) -> bool:
        """Checks the keys and types of an `info`; whether it can be worked with."""
        if not isinstance(info, dict):
            self.problem(f"{where}: info is a {type(info).__name__}; it must be a dict")
            return False
        missing = [key for key in REQUIRED_INFO_KEYS if key not in info]
        if missing:
            self.problem(f"{where}: info lacks {', '.join(missing)} (siri_verl.envs.base.TurnInfo describes them)")
        for key, types in _TYPES.items():
            if key in info and (not isinstance(info[key], types) or (bool not in types and info[key] is True)):
                expected = " or ".join(kind.__name__ for kind in types if kind.__module__ == "builtins")
                self.problem(f"{where}: info[{key!r}] is {info[key]!r}; expected {expected}")
        actions = info.get("admissible_actions")
        if isinstance(actions, list) and not all(isinstance(action, str) and action for action in actions):
            self.problem(f"{where}: info['admissible_actions'] holds something that is not a non-empty string")
        score = info.get("score")
        if isinstance(score, _TYPES["score"]) and not 0 <= score <= 1:
            self.problem(f"{where}: info['score'] is {score!r}; it must lie in [0, 1]")
        return not missing and all(isinstance(info[key], types) for key, types in _TYPES.items())

    def run(self) -> int:
        try:
            with warnings.catch_warnings(record=True) as caught, required_keys(self.env.unwrapped):
                warnings.simplefilter("always")
                check_env(self.env.unwrapped, skip_render_check=True, skip_close_check=True)
            self.doubts += [f"gymnasium's checker: {warning.message}" for warning in caught]
        except RAISED as error:
            self.problem(f"gymnasium's own checker: {error if isinstance(error, Exception) else repr(error)}")
        tasks = self.task_ids()
        if not tasks:
            return 0
        self.unknown_task()
        for number in range(self.episodes):
            # the same tasks for everyone who checks with this seed, spread over the list
            spread = number * len(tasks) // self.episodes if len(tasks) >= self.episodes else number % len(tasks)
            self.episode(tasks[spread], self.seed + number)
        return len(tasks)

    def task_ids(self) -> list[str]:
        method = getattr(self.env.unwrapped, "task_ids", None)
        if not callable(method):
            self.problem("it has no method task_ids() -> list[str]: panels name tasks by their ids")
            return []
        tasks = method()
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, str) for task in tasks):
            self.problem(f"task_ids() must return a non-empty list of strings, got {str(tasks)[:80]}")
            return []
        if len(set(tasks)) != len(tasks):
            self.problem(f"task_ids() names {len(tasks) - len(set(tasks))} tasks twice")
        if method() != tasks:
            self.problem("task_ids() differs between two calls: task ids are stable and in a fixed order")
        return tasks

    def unknown_task(self) -> None:
        try:
            self.env.reset(seed=self.seed, options={"task_id": _UNKNOWN_TASK})
        except UnknownTaskError:
            return
        except RAISED as error:
            self.problem(f"reset with an unknown task_id raised {error!r}; it must raise UnknownTaskError")
        else:
            self.problem("reset with an unknown task_id did not raise; it must raise UnknownTaskError")

    def episode(self, task_id: str, seed: int) -> None:
        try:
            trace, actions = self.play(task_id, seed, None)
            again, _ = self.play(task_id, seed, actions)
        except RAISED as error:
            self.problem(f"task {task_id!r}, seed {seed}: an episode raised {error!r}")
            return
        for turn, (a, b) in enumerate(zip(trace, again, strict=False)):
            if a != b:
                self.problem(
                    f"task {task_id!r}, seed {seed}: the same seed and actions gave another turn {turn}: "
                    f"{difference(a, b)}"
                )
                break

    def play(self, task_id: str, seed: int, script: list[str] | None) -> tuple[list[Any], list[str]]:
        """One episode: random admissible actions and one no-op, or the actions of an earlier one."""
        first = script is None
        where = f"task {task_id!r}"
        observation, info = self.env.reset(seed=seed, options={"task_id": task_id})
        if not self.info(info, f"{where}, reset"):
            return [], []
        if info["task_id"] != task_id:
            self.problem(f"{where}: reset answers with info['task_id'] = {info['task_id']!r}")
        if not info["action_admissible"] or info["success"] or info["score"] != 0:
            self.problem(f"{where}: after reset action_admissible must be True, success False and score 0")
        try:
            rules = ActionRules.of(info)
        except ValueError as error:
            self.problem(f"{where}: {error}")
            return [], []
        self.sendable(where, (observation, info))
        task, trace, actions, rng = info["task"], [compared(observation, info)], [], random.Random(seed)
        terminated = truncated = False
        while not (terminated or truncated) and len(actions) < self.max_turns:
            if not info["admissible_actions"]:
                self.problem(f"{where}: turn {len(actions)} offers no admissible action although the episode continues")
                break
            if script is not None and len(actions) >= len(script):
                break
            offered = rng.choice(info["admissible_actions"])
            if script is not None:
                action = script[len(actions)]
            else:
                for choice in info["admissible_actions"]:
                    self.written(where, fill_placeholder(choice, task), rules)
                played = parse_reply(well_formed(fill_placeholder(offered, task)), rules).action
                action = _NO_OP if len(actions) == 1 else played
            anchor = info["anchor"]
            observation, reward, terminated, truncated, info = self.env.step(action)
            actions.append(action)
            self.answer(where, action, offered, anchor, task, (observation, reward, terminated, truncated, info))
            if not self.info(info, f"{where}, step"):
                return [], []
            self.sendable(where, (observation, reward, info))
            trace.append(compared(observation, info, reward=reward, terminated=terminated, truncated=truncated))
        if first:
            self.turns += len(actions)
            self.endings["terminated" if terminated else "truncated" if truncated else "unfinished"] += 1
        return trace, actions

    def written(self, where: str, action: str, rules: ActionRules) -> None:
        """Whether an offered action arrives when a model writes it into a reply."""
        parsed = parse_reply(well_formed(action), rules)
        if parsed.problem is not None:
            self.problem(f"{where}: a reply with the offered action {action!r} is malformed ({parsed.problem})")
        elif parsed.action != rules.normalise(action):
            self.problem(
                f"{where}: the offered action {action!r} is read from a reply as {parsed.action!r}; an action cannot "
                "contain the tag </action>"
            )
        elif action != action.strip():
            self.problem(f"{where}: the offered action {action!r} has blanks around it; those of a reply are removed")

    def sendable(self, where: str, answer: tuple) -> None:
        """Whether an answer can leave the process of an environment server."""
        try:
            cloudpickle.dumps(answer)
        except Exception as error:
            self.problem(f"{where}: the answer cannot be sent to another process (pickle): {error!r}")

    def answer(self, where: str, action: str, offered: str, anchor: str, task: str, answer: tuple) -> None:
        observation, reward, terminated, truncated, info = answer
        ended = terminated or truncated
        if not isinstance(observation, str):
            self.problem(f"{where}: the observation is a {type(observation).__name__}; it must be text")
        try:
            read_reward(reward)
        except ValueError as error:
            self.problem(f"{where}: {error}")
        if not isinstance(info, dict):
            return
        if info.get("task") != task:
            self.problem(f"{where}: info['task'] changed within an episode")
        if info.get("success") and not ended:
            self.problem(f"{where}: info['success'] is True before the episode ended")
        if action == _NO_OP:
            if info.get("action_admissible"):
                self.problem(f"{where}: {action!r} counts as admissible")
            if not ended and info.get("anchor") != anchor:
                self.doubts.append(
                    f"{where}: a meaningless action changed the anchor, so such turns share no step group"
                )
        elif not info.get("action_admissible", True):
            self.problem(
                f"{where}: {action!r}, read from a reply with the offered {offered!r}, counts as inadmissible"
                + "; info['action_rules'] lower-cases actions" * (action != offered and action == offered.lower())
            )


def check_text_env(env: gymnasium.Env, *, episodes: int = 5, max_turns: int = 50, seed: int = 0) -> CheckReport:
    """Play an environment and check what training relies on.

    Args:
        env: made by `siri_verl.envs.registry.make_environment` or `gymnasium.make`.
        episodes: episodes to play, each twice, with random admissible actions and one action that means nothing.
        max_turns: turns after which an episode is left unfinished.
        seed: seeds tasks and actions.

    Returns:
        What was seen.

    Raises:
        EnvironmentCheckError: at least one problem; the message lists all of them.
    """
    checker = _Checker(env, episodes, max_turns, seed)
    tasks = checker.run()
    if checker.problems:
        name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        raise EnvironmentCheckError(name, checker.problems)
    doubts = tuple(dict.fromkeys(checker.doubts))
    return CheckReport(tasks, episodes, checker.turns, checker.endings, doubts)
