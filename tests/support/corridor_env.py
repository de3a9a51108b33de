# SPDX-License-Identifier: Apache-2.0
"""A walk whose observations grow, and which says what tests need to know: its process, its seed, how often it raised.
Imported by the environment servers under test."""

import os

import gymnasium

from siri_verl.envs.base import TextEnv

STEP = " a further door stands open;"


class CorridorEnv(TextEnv):
    """Actions: `walk`, `stop` (ends the walk, solved), `trip` (the environment raises)."""

    def task_ids(self):
        return ["long", "longer"]

    def reset(self, *, seed=None, options=None):
        super(TextEnv, self).reset(seed=seed)
        self.task, self.seed, self.walked = self._choose_task(options), seed, 0
        return self._answer(False)

    def step(self, action):
        if action == "trip":
            raise ValueError("tripped over the carpet")
        self.walked += action == "walk"
        solved = action == "stop"
        observation, info = self._answer(solved)
        return observation, float(solved), solved, False, info

    def _answer(self, solved):
        text = f"pid {os.getpid()} seed {self.seed} walked {self.walked};" + STEP * self.walked
        return text, {
            "task": f"walk the {self.task} corridor",
            "task_id": self.task,
            "admissible_actions": ["walk", "stop"],
            "anchor": str(self.walked),
            "action_admissible": True,
            "success": solved,
            "score": float(solved),
        }


gymnasium.register("siri_verl_tests/Corridor-v0", entry_point=CorridorEnv)
