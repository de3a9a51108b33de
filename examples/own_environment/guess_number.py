# SPDX-License-Identifier: Apache-2.0
"""A text environment of one's own: guess how many there are, from 1 to 16, in at most five guesses."""

from __future__ import annotations

import gymnasium

from siri_verl.envs.base import EpisodeOverError, TextEnv, UnknownTaskError

THINGS = ("cats", "boats", "apples", "books")
NUMBERS = [str(n) for n in range(1, 17)]
TURNS = 5


class GuessNumber(TextEnv):
    """Task "7-cats" hides seven cats."""

    number = None

    def task_ids(self):
        return [f"{n}-{thing}" for thing in THINGS for n in NUMBERS]

    def reset(self, *, seed=None, options=None):
        super(TextEnv, self).reset(seed=seed)
        self.task_id = self._choose_task(options)
        if self.task_id not in self.task_ids():
            raise UnknownTaskError(
                f"task_id {self.task_id!r}: use a number from 1 to 16 and one of {', '.join(THINGS)}"
            )
        number, self.thing = self.task_id.split("-")
        self.number, self.low, self.high, self.turns = int(number), 1, 16, 0
        return self.answer()

    def step(self, action):
        if self.number is None:
            raise EpisodeOverError("guess_number: no episode is running; call reset first")
        self.turns += 1
        known = action in self.open_guesses()
        solved = known and int(action) == self.number
        if known and int(action) < self.number:
            self.low = int(action) + 1
        elif known:
            self.high = int(action) - 1
        observation, info = self.answer(known, solved)
        truncated = not solved and self.turns == TURNS
        self.number = None if solved or truncated else self.number
        return observation, float(solved), solved, truncated, info

    def open_guesses(self):
        return [n for n in NUMBERS if self.low <= int(n) <= self.high]

    def answer(self, known=True, solved=False):
        text = "that is right" if solved else f"from {self.low} to {self.high}"
        return text, {
            "task": f"how many {self.thing} are there",
            "task_id": self.task_id,
            "admissible_actions": [] if solved else self.open_guesses(),
            "anchor": text,
            "action_admissible": known,
            "success": solved,
            "score": float(solved),
        }


gymnasium.register("GuessNumber-v0", entry_point=GuessNumber)
