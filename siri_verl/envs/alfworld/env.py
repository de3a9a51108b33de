# SPDX-License-Identifier: Apache-2.0
"""ALFWorld as a Gymnasium environment: `gymnasium.make("siri_verl/ALFWorld-v0", data=DIR)`."""

from __future__ import annotations

import json
from typing import Any

from siri_verl.envs.alfworld.games import Game, GameDataError, shared_folder
from siri_verl.envs.alfworld.speed import fast_textworld
from siri_verl.envs.alfworld.tasks import stated_task
from siri_verl.envs.base import EpisodeOverError, TextEnv, UnknownSplitError, UnknownTaskError
from siri_verl.envs.replies import REFERENCE

ANCHORS = ("state", "observation")
HIDDEN = ("help",)
"""Commands that are not offered and do nothing: a list of commands stands in every prompt anyway."""
NOTHING = "Nothing happens."


class ALFWorldEnv(TextEnv):
    """A household robot with a task; an episode ends with success or after `max_turns`.

    Rewards are 0 until the task is solved, then 1. A command that is not admissible gives "Nothing happens." and costs
    a turn. `info["category"]` is the official task type.

    Args:
        data: folder of the games, official or generated (`siri_verl.envs.alfworld.games`).
        split: "train", "valid_seen" or "valid_unseen" restricts the tasks; None gives all games.
        anchor: "state" (place, what is held, observation) or "observation".
        max_turns: turns before truncation, at least 2.
        fast: play with the speed layer; False for stock textworld.

    Raises:
        GameDataError: no games there.
        UnknownSplitError: the folder has no such split; the message lists those it has.
        TextworldVersionError: the speed layer does not know the installed textworld.
        ValueError: another setting is wrong; the message names it.
    """

    def __init__(
        self,
        data: str,
        split: str | None = None,
        anchor: str = "state",
        max_turns: int = 50,
        fast: bool = True,
        render_mode: str | None = None,
    ):
        super().__init__(render_mode)
        if anchor not in ANCHORS:
            raise ValueError(f"anchor: got {anchor!r}; known are {', '.join(ANCHORS)}")
        if not isinstance(max_turns, int) or isinstance(max_turns, bool) or max_turns < 2:
            raise ValueError(f"max_turns: got {max_turns!r}; it must be an integer of at least 2")
        self._folder = shared_folder(data)
        if split is not None and split not in self._folder.splits:
            raise UnknownSplitError(
                f"split: {split!r} is unknown; {self._folder.root} has {', '.join(self._folder.splits)}"
            )
        if fast:
            fast_textworld()
        self._split, self._anchor, self._max_turns = split, anchor, max_turns
        self._player: Any = None
        self._game: Game | None = None
        self._task = ""
        self._state: Any = None

    def task_ids(self) -> list[str]:
        splits = self._folder.splits if self._split is None else (self._split,)
        return [name for split in splits for name in self._folder.listing(split).games]

    def split_names(self) -> list[str]:
        return list(self._folder.splits)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super(TextEnv, self).reset(seed=seed)
        name = self._choose_task(options)
        if self._split is not None and not name.startswith(f"{self._split}/"):
            raise UnknownTaskError(f"task_id {name!r} is not of split {self._split!r}")
        game = self._folder.game(name)
        self._state = None
        if self._player is None:
            self._player = _new_player()
        self._turns = 0
        try:
            if game is not self._game:
                self._game = None
                self._player.load(json.loads(game.path.read_text(encoding="utf-8")))
                self._game = game
            self._state = self._player.reset()
        except (Exception, SystemExit) as error:  # the planner's parser ends the process over a malformed problem
            raise GameDataError(f"game {name}: cannot be played: {type(error).__name__}: {error}") from error
        self._observation = self._state.feedback.strip()
        self._task = stated_task(self._observation)
        return self._observation, self._info(admissible=True) | {"action_rules": dict(REFERENCE)}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._state is None:
            raise EpisodeOverError("alfworld: no episode is running; call reset first")
        self._turns += 1
        action = action.strip()
        admissible = action not in HIDDEN and action in self._state["admissible_commands"]
        if admissible:
            self._state, _, _ = self._player.step(action)
        self._observation = self._state.feedback.strip() if admissible else NOTHING
        terminated = bool(self._state["won"])
        truncated = not terminated and self._turns >= self._max_turns
        info = self._info(admissible)
        if terminated or truncated:
            self._state = None
        return self._observation, info["score"], terminated, truncated, info

    def close(self) -> None:
        self._player = self._state = self._game = None

    def _info(self, admissible: bool) -> dict[str, Any]:
        assert self._game is not None
        self._last_observation = self._observation
        won = bool(self._state["won"])
        return {
            "task": self._task,
            "task_id": self._game.name,
            "admissible_actions": [c for c in self._state["admissible_commands"] if c not in HIDDEN],
            "anchor": self._anchor_text(),
            "action_admissible": admissible,
            "success": won,
            "score": float(won),
            "category": self._game.task_type,
        }

    def _anchor_text(self) -> str:
        if self._anchor == "observation":
            return self._observation
        names = {key: info.name for key, info in self._state["_entity_infos"].items()}
        here: set[str] = set()
        held, receptacles = [], []
        for fact in self._state["_facts"]:
            if fact.name == "atlocation":
                here.add(fact.arguments[1].name)
            elif fact.name == "holds":
                held.append(names[fact.arguments[1].name])
            elif fact.name == "receptacleatlocation":
                receptacles.append((fact.arguments[1].name, names[fact.arguments[0].name]))
        place = sorted(name for location, name in receptacles if location in here) or ["the middle of the room"]
        return f"at {', '.join(place)}; holding {', '.join(sorted(held)) or 'nothing'}\n{self._observation}"


def _new_player() -> Any:
    try:
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs.pddl import PddlEnv
    except ImportError as error:
        raise ImportError(f"alfworld: {error}; `pip install 'siri_verl[alfworld]'` (needs g++ and cmake)") from error

    # As alfworld plays its validation games: every object has its own number, the same in every episode.
    return AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)), shuffle=False)
