# SPDX-License-Identifier: Apache-2.0
"""Wins generated games through the real package: the oracle that every written game has passed.

    python -m siri_verl.demos.alfworld.check DIR [--stock]

It plays a game's walkthrough, which follows from the positions chosen by the generator and not from the package; so a
game that is won shows that layout, names, rules and goal are read as they were meant.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class UnwinnableGameError(RuntimeError):
    """A generated game was not won by its walkthrough."""


def play_walkthrough(env: Any, path: Path) -> str | None:
    """Load a game and play its walkthrough; returns what went wrong, None if it was won by the last command and not
    before."""
    commands = json.loads(path.read_text(encoding="utf-8"))["walkthrough"]
    env.load(str(path))
    state = env.reset()
    for number, command in enumerate(commands, 1):
        if state["won"]:
            return f"won before command {number}, {command!r}"
        if command not in state["admissible_commands"]:
            return f"command {number}, {command!r}, is not admissible; {', '.join(state['admissible_commands'])} are"
        state, _, _ = env.step(command)
    return None if state["won"] else f"not won after {len(commands)} commands"


def make_stock_env() -> Any:
    """textworld's PddlEnv with alfworld's names, as AlfredTWEnv makes it."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs import PddlEnv

    return AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)), shuffle=False)


def check_games(paths: Iterable[Path], *, fast: bool = True) -> Iterator[tuple[Path, str | None]]:
    """Every game and what is wrong with it, None if it was won.

    Args:
        paths: of game.tw-pddl files.
        fast: with this package's speed layer over textworld, which gives the same texts and wins; stock otherwise.
    """
    from siri_verl.envs.alfworld import fast_textworld

    with fast_textworld() if fast else contextlib.nullcontext():
        env = make_stock_env()
        try:
            for path in paths:
                yield path, play_walkthrough(env, path)
        finally:
            env.close()


def require_won(paths: Iterable[Path], *, fast: bool = True) -> int:
    """Check every game; returns how many there are.

    Raises:
        UnwinnableGameError: one was not won; the message names it and the command.
    """
    count = 0
    for path, problem in check_games(paths, fast=fast):
        if problem is not None:
            raise UnwinnableGameError(f"{path}: {problem}")
        count += 1
    return count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stock", action="store_true", help="without the speed layer")
    args = parser.parse_args()
    began, won, all_games = time.monotonic(), Counter[str](), Counter[str]()
    for path, problem in check_games(sorted(args.folder.rglob("game.tw-pddl")), fast=not args.stock):
        kind = path.parents[2].name + " " + path.parents[1].name.split("-", 1)[0]
        all_games[kind] += 1
        won[kind] += problem is None
        if problem is not None:
            print(f"{path}: {problem}")
    for kind in sorted(all_games):
        print(f"{kind}: {won[kind]} of {all_games[kind]} won")
    print(f"all: {won.total()} of {all_games.total()} won, {time.monotonic() - began:.0f} s")
    raise SystemExit(won != all_games)


if __name__ == "__main__":
    main()
