# SPDX-License-Identifier: Apache-2.0
"""Stock textworld and the speed layer tell an agent the same, word for word."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from siri_verl.envs.alfworld.games import GameFolder
from siri_verl.envs.alfworld.tasks import TASK_TYPES

PLAYER = Path(__file__).parents[2] / "support" / "play_trace.py"


def trace(mode, files, steps, hash_seed):
    command = [sys.executable, str(PLAYER), mode, str(steps), *map(str, files)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=840)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def compare(files, steps):
    """Both traces, equal; processes with other hash seeds, so that no order of a set can decide."""
    with ThreadPoolExecutor(2) as both:
        traces = [both.submit(trace, mode, files, steps, seed) for mode, seed in (("stock", 1), ("fast", 2))]
        stock, fast = (result.result() for result in traces)
    for number, (a, b) in enumerate(zip(stock, fast, strict=True)):
        assert json.loads(a) == json.loads(b), f"turn {number}"
    hashes = {hashlib.sha256("\n".join(lines).encode()).hexdigest() for lines in (stock, fast)}
    assert len(hashes) == 1
    return [json.loads(line) for line in stock]


def one_of_each_type(folder, split, count=1):
    games = GameFolder(folder).listing(split).games.values()
    chosen = [game.path for kind in TASK_TYPES for game in [g for g in games if g.task_type == kind][:count]]
    assert len(chosen) == 6 * count
    return chosen


def check_that_much_was_seen(turns, games):
    texts = " ".join(turn[0] for turn in turns)
    assert sum(turn[2] for turn in turns) >= games, "every game was won once"
    for word in (
        "You arrive at",
        "You pick up",
        "You move",
        "Nothing happens.",
        "You are carrying",
        "Available commands",
    ):
        assert word in texts
    assert {"help", "look", "inventory"} <= set(turns[0][1])


def test_same_traces_for_every_task_type_in_small_rooms(small_games):
    turns = compare(one_of_each_type(small_games, "train"), steps=12)
    check_that_much_was_seen(turns, 6)
    texts = " ".join(turn[0] for turn in turns)
    for word in ("You heat", "You cool", "You clean", "You turn on"):
        assert word in texts


def test_same_traces_in_a_full_size_unseen_room(full_games):
    heat = [path for path in one_of_each_type(full_games, "valid_unseen") if "pick_heat" in str(path)]
    turns = compare(heat, steps=20)
    assert sum(turn[2] for turn in turns) == 1 and max(len(turn[1]) for turn in turns) > 30


@pytest.mark.slow
def test_same_traces_for_every_task_type_in_full_size_rooms(full_games):
    files = one_of_each_type(full_games, "train", 2) + one_of_each_type(full_games, "valid_seen")
    check_that_much_was_seen(compare(files, steps=40), len(files))
