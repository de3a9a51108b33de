# SPDX-License-Identifier: Apache-2.0
"""An environment that crashes, hangs, raises or swells when told to. Imported by the servers under test."""

import os
import time

import gymnasium

from siri_verl.envs.base import TextEnv, UnknownTaskError


class FaultyEnv(TextEnv):
    def __init__(self, length=3, refuse=False, render_mode=None):
        super().__init__(render_mode)
        if refuse:
            raise RuntimeError("refused to start")
        self.length, self.resets = length, 0

    def task_ids(self):
        return ["a", "b", "crash", "raise"]

    def reset(self, *, seed=None, options=None):
        super(TextEnv, self).reset(seed=seed)
        self.task = self._choose_task(options)
        if self.task not in self.task_ids():
            raise UnknownTaskError(f"no task {self.task!r}")
        if self.task == "crash":
            os._exit(1)
        if self.task == "raise":
            raise ValueError("reset went wrong")
        self.resets += 1
        self.turn = 0
        return self._answer(seed)

    def step(self, action):
        verb, _, argument = action.partition(" ")
        if verb == "crash":
            os._exit(1)
        if verb == "raise":
            raise ValueError("step went wrong")
        if verb == "sleep":
            time.sleep(float(argument))
        if verb == "swell":
            self.ballast = os.urandom(int(argument) << 20)
        self.turn += 1
        observation, info = self._answer(None)
        ended = self.turn >= self.length
        info["success"] = ended
        return observation, float(ended), ended, False, info

    def _answer(self, seed):
        text = f"task {self.task} turn {self.turn} seed {seed} pid {os.getpid()} env {id(self)} resets {self.resets}"
        return text, {
            "task": self.task,
            "task_id": self.task,
            "admissible_actions": ["wait"],
            "anchor": f"{self.task}{self.turn}",
            "action_admissible": True,
            "success": False,
            "score": 0.0,
        }


gymnasium.register("siri_verl_tests/Faulty-v0", entry_point=FaultyEnv)
