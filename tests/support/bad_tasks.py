# SPDX-License-Identifier: Apache-2.0
"""Twelve tasks, "go right" solves each; some of them cannot be played. Imported by the servers under test."""

import gymnasium

from siri_verl.envs.base import TextEnv, UnknownTaskError

NAME = "support.bad_tasks:siri_verl_tests/BadTasks-v0"


class BadTasksEnv(TextEnv):
    """`bad`: task -> what is wrong: `reset` or `step` raises, `exit` at reset, a `long` or a `hidden` observation."""

    mended = False

    def __init__(self, bad=None, render_mode=None):
        super().__init__(render_mode)
        self.bad = dict(bad or {})

    def task_ids(self):
        return [f"t{k}" for k in range(12)]

    def reset(self, *, seed=None, options=None):
        super(TextEnv, self).reset(seed=seed)
        self.task = self._choose_task(options)
        if self.task not in self.task_ids():
            raise UnknownTaskError(self.task)
        self.fault = None if self.mended else self.bad.get(self.task)
        if self.fault == "reset":
            raise ValueError("this task's file is damaged")
        if self.fault == "exit":
            raise SystemExit(3)
        door = "the hidden door . " if self.fault == "hidden" else "a door here . "
        return door * (2000 if self.fault == "long" else 1), self._info(True, False)

    def step(self, action):
        if self.fault == "step":
            raise RuntimeError("no such room")
        solved = action == "go right"
        return "a room", float(solved), solved, False, self._info(action in ("go left", "go right"), solved)

    def _info(self, known, solved):
        return {
            "task": "find the way",
            "task_id": self.task,
            "admissible_actions": [] if solved else ["go left", "go right"],
            "anchor": self.task,
            "action_admissible": known,
            "success": solved,
            "score": float(solved),
        }


gymnasium.register("siri_verl_tests/BadTasks-v0", entry_point=BadTasksEnv)
