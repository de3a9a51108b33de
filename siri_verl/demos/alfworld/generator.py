# SPDX-License-Identifier: Apache-2.0
"""Writes generated games in the official layout.

    siri-verl data alfworld-demo --out DIR            # or: generate(DIR, games=300, seed=0, rooms="full")

DIR then holds `json_2.1.1/{train,valid_seen,valid_unseen}/<task>-<object>-None-<place>-<room>/<trial>/` with
traj_data.json, initial_state.pddl and game.tw-pddl, and `games.json`: split -> task type -> names of games. No two
splits share a task (see `tasks`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from siri_verl.core.seeding import derive_seed
from siri_verl.demos.alfworld.check import require_won
from siri_verl.demos.alfworld.games import Game, game_data, make_game
from siri_verl.demos.alfworld.pddl import problem
from siri_verl.demos.alfworld.tasks import TRAIN, VALID_SEEN, VALID_UNSEEN, draw_tasks
from siri_verl.envs.alfworld.tasks import TASK_TYPES
from siri_verl.files import encode, write_text_atomically
from siri_verl.outputs import exclusive, new_folder

DATASET, INDEX = "json_2.1.1", "games.json"
ROOMS = ("full", "small")
TRAJECTORY, PROBLEM, GAME = "traj_data.json", "initial_state.pddl", "game.tw-pddl"


def make_games(panel: str, count: int, *, seed: int = 0, rooms: str = "full") -> Iterator[Game]:
    """Games of a panel, evenly over task types.

    Args:
        panel: one of `tasks.PANELS`.
        count: how many; all distinct.
        seed: decides everything.
        rooms: "full" or "small".

    Raises:
        ValueError: unknown panel, unknown kind of rooms, or a negative count.
    """
    if rooms not in ROOMS:
        raise ValueError(f"rooms: got {rooms!r}; known: {', '.join(ROOMS)}")
    if count < 0:
        raise ValueError(f"count: got {count}, expected 0 or more")
    small = rooms == "small"
    rng = random.Random(f"alfworld_demo:{panel}:{seed}:{rooms}")
    for k, task in enumerate(draw_tasks(panel, count, rng, small=small)):
        drawn = derive_seed(seed, "alfworld_demo", panel, rooms, k)
        yield make_game(task, drawn, f"trial_{rooms}_{seed}_{k:05d}", small=small)


def write_game(game: Game, split: Path) -> Path:
    """Write a game's three files under a split's folder; returns the path of game.tw-pddl."""
    folder = split / game.folder
    folder.mkdir(parents=True)
    text = problem(game)
    (folder / TRAJECTORY).write_bytes(encode(json.dumps(game.traj_data(), indent=1)))
    (folder / PROBLEM).write_bytes(encode(text))
    (folder / GAME).write_bytes(encode(json.dumps(game_data(game, text))))
    return folder / GAME


def write_games(
    out: Path | str,
    splits: Mapping[str, tuple[str, int]],
    *,
    seed: int,
    rooms: str,
    check: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write splits, or nothing at all: the folder appears when it is complete.

    Args:
        out: folder, missing or empty.
        splits: name of a split -> (panel, number of games).
        seed, rooms: see `make_games`.
        check: win every game through the real package before anything appears.
        overwrite: replace generated games that are there.

    Returns:
        `out`.

    Raises:
        FileExistsError: `out` holds something that may not be replaced, or another process is writing it.
        ValueError: see `make_games`.
        UnwinnableGameError: a game was not won.
    """
    out = Path(out)
    with (
        exclusive(out),
        new_folder(out, "generated games", parts=(DATASET, INDEX), mark=INDEX, overwrite=overwrite) as whole,
    ):
        index: dict[str, dict[str, list[str]]] = {}
        for split, (panel, count) in splits.items():
            index[split] = {task_type: [] for task_type in TASK_TYPES}
            (whole / DATASET / split).mkdir(parents=True)
            for game in make_games(panel, count, seed=seed, rooms=rooms):
                path = write_game(game, whole / DATASET / split)
                index[split][game.task.type].append(path.parent.relative_to(whole / DATASET).as_posix())
        if check:
            require_won(sorted((whole / DATASET).rglob(GAME)))
        write_text_atomically(whole / INDEX, json.dumps(index, indent=1))
    return out


def generate(
    out: Path | str,
    *,
    games: int = 300,
    validation: int = 60,
    seed: int = 0,
    rooms: str = "full",
    check: bool = True,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the splits train, valid_seen and valid_unseen.

    Args:
        out: folder, missing or empty.
        games: games to train on.
        validation: games of each of the two validation panels.
        seed: decides every one.
        rooms: "full", or "small" for the small model.
        check: win every game through the real package before anything appears.
        overwrite: replace generated games that are there.

    Returns:
        Split -> number of games.

    Raises:
        ValueError: fewer than one game per task type, or unknown rooms.
        FileExistsError: `out` holds something that may not be replaced, or another process is writing it.
        UnwinnableGameError: a game was not won.
    """
    for name, count in (("games", games), ("validation", validation)):
        if count < len(TASK_TYPES):
            raise ValueError(f"{name}: got {count}, expected at least {len(TASK_TYPES)}, one per task type")
    counts = {TRAIN: games, VALID_SEEN: validation, VALID_UNSEEN: validation}
    splits = {name: (name, count) for name, count in counts.items()}
    write_games(out, splits, seed=seed, rooms=rooms, check=check, overwrite=overwrite)
    return counts
