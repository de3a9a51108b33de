# SPDX-License-Identifier: Apache-2.0
"""ALFWorld's games on disk, addressed by name: `<split>/<task folder>/<trial folder>`.

The layout is the official one, `json_2.1.1/{train,valid_seen,valid_unseen}/<task>/<trial>/`, whether downloaded or
generated. What alfworld leaves out is left out here: movable and sliced objects, games without a known solution.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from siri_verl.envs.alfworld.tasks import TASK_TYPES, check_states_task
from siri_verl.envs.base import UnknownTaskError
from siri_verl.files import parse_json

logger = logging.getLogger(__name__)

DATASET = "json_2.1.1"
SPLITS = ("train", "valid_seen", "valid_unseen")
TRAJECTORY_FILE, GAME_FILE = "traj_data.json", "game.tw-pddl"
HOW_TO_GET = (
    "`siri-verl data alfworld --download --out DIR` fetches the official games, "
    "`siri-verl data alfworld-demo --out DIR` makes some"
)
_LEFT_OUT = ("movable", "Sliced")
_TEMPLATE = re.compile(r'action\s+(\w+)\s*\{\s*template\s*::\s*"([^"\n]*)"')


class GameDataError(ValueError):
    """No games where some were expected; the message states how to get them."""


class GrammarVersionError(ValueError):
    """A game was made with another version of the grammar than the installed alfworld's."""


class SkippedGameError(ValueError):
    """A game that is not played.

    Attributes:
        reason: "movable or sliced", "other task type", "no game file", "unsolvable" or "unreadable".
        broken: whether something is wrong with the files, rather than left out on purpose.
    """

    def __init__(self, reason: str, detail: str = "", broken: bool = False):
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.broken = reason, broken


@dataclass(frozen=True)
class Game:
    """A playable game.

    Attributes:
        name: `<split>/<task folder>/<trial folder>`.
        path: its game.tw-pddl.
        task_type: one of `TASK_TYPES`.
    """

    name: str
    path: Path
    task_type: str


@dataclass(frozen=True)
class Listing:
    """A split's games.

    Attributes:
        games: name -> game, sorted by name.
        skipped: name -> why it is not played.
    """

    games: Mapping[str, Game]
    skipped: Mapping[str, SkippedGameError] = field(default_factory=dict)

    def counts(self) -> str:
        """How many were skipped for what, in words."""
        reasons = Counter(error.reason for error in self.skipped.values())
        return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))


@lru_cache(maxsize=1)
def known_commands() -> dict[str, str]:
    """Action -> command template of the installed alfworld's grammar."""
    return dict(_TEMPLATE.findall(files("alfworld").joinpath("data/alfred.twl2").read_text(encoding="utf-8")))


def check_grammar(grammar: str, name: str) -> None:
    """Raise GrammarVersionError if a game's commands read differently from the installed alfworld's."""
    found = dict(_TEMPLATE.findall(grammar))
    for action, template in known_commands().items():
        if found.get(action) != template:
            raise GrammarVersionError(
                f"game {name}: its grammar has {action} as {found.get(action)!r}, the installed alfworld as "
                f"{template!r}; take the games of alfworld's release 0.4, {HOW_TO_GET}"
            )


def _load(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SkippedGameError("unreadable", f"{path.name}: {error}", broken=True) from error
    if not isinstance(content, dict):
        raise SkippedGameError("unreadable", f"{path.name}: not a JSON object", broken=True)
    return content


def read_game(root: Path, name: str) -> Game:
    """Read and check one game.

    Args:
        root: the folder with the splits.
        name: the game's name.

    Raises:
        SkippedGameError: it is not played.
        GrammarVersionError: it belongs to another version of alfworld.
    """
    folder = root / name
    if any(word in name for word in _LEFT_OUT):
        raise SkippedGameError("movable or sliced")
    task_type = _load(folder / TRAJECTORY_FILE).get("task_type")
    if task_type not in TASK_TYPES:
        raise SkippedGameError("other task type", str(task_type))
    path = folder / GAME_FILE
    if not path.is_file():
        raise SkippedGameError("no game file", f"{GAME_FILE} is missing", broken=True)
    content = _load(path)
    for key in ("pddl_domain", "grammar", "pddl_problem"):
        if not isinstance(content.get(key), str):
            raise SkippedGameError("unreadable", f"{GAME_FILE}: {key!r} is not text", broken=True)
    if content.get("solvable") is not True:
        raise SkippedGameError("unsolvable", f"'solvable' is {content.get('solvable')!r}")
    check_grammar(content["grammar"], name)
    try:
        check_states_task(content["grammar"])
    except ValueError as error:
        raise SkippedGameError("unreadable", f"{GAME_FILE}: {error}", broken=True) from error
    return Game(name, path, task_type)


class GameFolder:
    """The games below a folder. Splits are listed when first asked for, once per object.

    Args:
        data: the folder that holds `json_2.1.1`, or that folder itself.

    Raises:
        GameDataError: there is no such folder, or it holds no split.
    """

    def __init__(self, data: str | Path):
        self.data = Path(data).expanduser().absolute()
        self.root = self.data / DATASET if (self.data / DATASET).is_dir() else self.data
        if not self.data.is_dir():
            raise GameDataError(f"{self.data}: no such folder of ALFWorld games; {HOW_TO_GET}")
        self.splits = tuple(split for split in SPLITS if (self.root / split).is_dir())
        if not self.splits:
            raise GameDataError(
                f"{self.data}: holds neither {DATASET} nor one of {', '.join(SPLITS)}: no ALFWorld games; {HOW_TO_GET}"
            )
        self._listings: dict[str, Listing] = {}
        self._games: dict[str, Game] = {}
        self._lock = threading.RLock()

    def game(self, name: str) -> Game:
        """One game by name; the others are not looked at.

        Raises:
            UnknownTaskError: no such game, or one that is not played.
            GrammarVersionError: it belongs to another version of alfworld.
        """
        if name not in self._games:
            parts = name.split("/")
            if len(parts) != 3 or parts[0] not in self.splits or {"", ".", ".."} & set(parts):
                raise UnknownTaskError(
                    f"task_id {name!r} names no game: expected '<split>/<task>/<trial>' with a split out of "
                    f"{', '.join(self.splits)}"
                )
            if not (self.root / name / TRAJECTORY_FILE).is_file():
                raise UnknownTaskError(
                    f"task_id {name!r}: no such game below {self.root}; the panel was made from other games"
                )
            try:
                self._games[name] = read_game(self.root, name)
            except SkippedGameError as error:
                raise UnknownTaskError(f"task_id {name!r}: this game is not played: {error}") from error
        return self._games[name]

    def listing(self, split: str) -> Listing:
        """All games of a split, and those that are skipped; broken ones are named in the log.

        Raises:
            GameDataError: none is left.
            GrammarVersionError: a game belongs to another version of alfworld.
        """
        with self._lock:
            if split not in self._listings:
                self._listings[split] = self._list(split)
            return self._listings[split]

    def _list(self, split: str) -> Listing:
        games: dict[str, Game] = {}
        skipped: dict[str, SkippedGameError] = {}
        for file in sorted((self.root / split).glob(f"*/*/{TRAJECTORY_FILE}")):
            name = file.parent.relative_to(self.root).as_posix()
            try:
                games[name] = read_game(self.root, name)
            except SkippedGameError as error:
                skipped[name] = error
        listing = Listing(dict(sorted(games.items())), skipped)
        named = [f"{name}: {error}" for name, error in skipped.items() if error.broken or error.reason == "unsolvable"]
        if not games:
            examples = f" ({'; '.join(named[:3])})" if named else ""
            raise GameDataError(
                f"{self.root / split}: no game to play; skipped: {listing.counts() or 'none'}{examples}; {HOW_TO_GET}"
            )
        if named:
            more = f"; and {len(named) - 20} more" if len(named) > 20 else ""
            logger.warning(
                f"{self.root / split}: {len(games)} games, {len(skipped)} skipped ({listing.counts()}): "
                f"{'; '.join(named[:20])}{more}"
            )
        self._games |= games
        return listing


_folders: dict[str, GameFolder] = {}
_folders_lock = threading.Lock()


def shared_folder(data: str | Path) -> GameFolder:
    """The folder's games, read once per process. Errors as `GameFolder`'s."""
    key = str(Path(data).expanduser().absolute())
    with _folders_lock:
        if key not in _folders:
            _folders[key] = GameFolder(key)
        return _folders[key]
