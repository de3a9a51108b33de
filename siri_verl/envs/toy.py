# SPDX-License-Identifier: Apache-2.0
"""A tiny deterministic text game of three decisions: walk to the room the note names, take the thing, put it in its
place.

The task text names the thing and where it belongs; only the observations say in which room it lies, so an agent that
ignores them wins one task in four. It exists for tests and for trying a trainer in seconds.
"""

from __future__ import annotations

import random
from typing import Any

from siri_verl.envs.base import EpisodeOverError, TextEnv, UnknownSplitError, UnknownTaskError
from siri_verl.envs.replies import REFERENCE

THINGS = ("coin", "lamp", "book", "rope")
ROOMS = ("kitchen", "cellar", "attic", "garden")
PLACES = ("box", "shelf", "table", "chest")
SPLITS = ("train", "validation")


def toy_tasks(split: str | None = None) -> dict[str, tuple[str, str, str]]:
    """Task id -> (thing, place, room). 48 train and 16 validation tasks; every word occurs in both splits.

    Raises:
        UnknownSplitError: `split` is neither None nor one of `SPLITS`.
    """
    if split is not None and split not in SPLITS:
        raise UnknownSplitError(
            f"split: {split!r} is unknown to the toy environment; known: {', '.join(SPLITS)}, or None for all"
        )
    tasks = {}
    for t, thing in enumerate(THINGS):
        for p, place in enumerate(PLACES):
            for r, room in enumerate(ROOMS):
                where = "validation" if (t + p + r) % 4 == 0 else "train"
                if split in (None, where):
                    tasks[f"toy-{thing}-{place}-{room}"] = (thing, place, room)
    return tasks


class ToyEnv(TextEnv):
    """`siri_verl/Toy-v0`.

    Actions: `go <room>`, `go hall`, `take <thing>`, `put <place>`. Putting ends the episode: score 1 with the right
    thing in the right place, 0.5 with the right thing elsewhere, else 0. Truncated after `max_turns`.

    Args:
        split: "train", "validation" or None for both.
        max_turns: turns before truncation, at least 2.
        anchor: "state" (room and held thing) or "observation".
    """

    def __init__(
        self, split: str | None = None, max_turns: int = 6, anchor: str = "state", render_mode: str | None = None
    ):
        super().__init__(render_mode)
        if max_turns < 2:
            raise ValueError(f"max_turns: got {max_turns}; the toy environment needs at least 2")
        if anchor not in ("state", "observation"):
            raise ValueError(f"anchor: got {anchor!r}; known: 'state', 'observation'")
        self._tasks = toy_tasks(split)
        self._split, self._max_turns, self._anchor = split, max_turns, anchor
        self._running = False

    def task_ids(self) -> list[str]:
        return list(self._tasks)

    def split_names(self) -> list[str]:
        return list(SPLITS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super(TextEnv, self).reset(seed=seed)
        task_id = self._choose_task(options)
        if task_id not in self._tasks:
            where = f"split {self._split!r}" if self._split else "all splits"
            raise UnknownTaskError(f"task_id {task_id!r} is not one of the {len(self._tasks)} toy tasks ({where})")
        self._task_id = task_id
        self._thing, self._place, self._room = self._tasks[task_id]
        # What lies in the other rooms follows from the task alone: one task, one world.
        others = [thing for thing in THINGS if thing != self._thing]
        random.Random(task_id).shuffle(others)
        self._lies = {room: self._thing if room == self._room else others.pop() for room in ROOMS}
        self._at, self._held, self._turns, self._running = "hall", None, 0, True
        observation, info = self._answer(admissible=True, score=0.0)
        return observation, info | {"action_rules": dict(REFERENCE)}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if not self._running:
            raise EpisodeOverError("toy: no episode is running; call reset first")
        self._turns += 1
        admissible, score, terminated = action in self._actions(), 0.0, False
        if admissible:
            verb, noun = action.split(" ", 1)
            if verb == "go":
                self._at = noun
            elif verb == "take":
                self._held = noun
            else:
                terminated = True
                score = (0.5 + 0.5 * (noun == self._place)) if self._held == self._thing else 0.0
        truncated = not terminated and self._turns >= self._max_turns
        self._running = not (terminated or truncated)
        observation, info = self._answer(admissible, score, over=terminated)
        return observation, score, terminated, truncated, info

    def _actions(self) -> list[str]:
        if self._held is not None:
            return [f"put {place}" for place in PLACES]
        if self._at == "hall":
            return [f"go {room}" for room in ROOMS]
        return [f"take {self._lies[self._at]}", "go hall"]

    def _answer(self, admissible: bool, score: float, over: bool = False) -> tuple[str, dict[str, Any]]:
        if over:
            text = "the game is over."
        elif self._held is not None:
            text = f"you hold the {self._held}. places: {' '.join(PLACES)}."
        elif self._at == "hall":
            text = f"you are in the hall. a note: the {self._thing} is in the {self._room}. doors: {' '.join(ROOMS)}."
        else:
            text = f"you are in the {self._at}. here is the {self._lies[self._at]}. door: hall."
        self._last_observation = text
        state = "over" if over else f"{self._at}|{self._held or '-'}"
        return text, {
            "task": f"put the {self._thing} in the {self._place}",
            "task_id": self._task_id,
            "admissible_actions": [] if over else self._actions(),
            "anchor": state if self._anchor == "state" else text,
            "action_admissible": admissible,
            "success": score == 1.0,
            "score": score,
            "category": self._room,
        }
