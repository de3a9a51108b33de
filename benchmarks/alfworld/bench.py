# SPDX-License-Identifier: Apache-2.0
"""The speed layer against stock textworld, in full-size rooms.

    python benchmarks/alfworld/bench.py all --games DIR        # DIR: official or generated; made if it does not exist
    python benchmarks/alfworld/bench.py speed --games DIR [--count 12] [--steps 60]
    python benchmarks/alfworld/bench.py memory --games DIR

Stock and fast play the same commands in the same games, in processes of their own that alternate, so that what else
the machine does hits both. Seconds are CPU seconds of the playing process. Every text and list of commands enters
a hash, which must be equal. Exits non-zero when a limit is missed: 15 times the steps per second, 10 times faster
repeated resets, identical traces, 64 environments in one process under 400 MiB. The last line is the result as JSON.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from siri_verl.envs.alfworld.games import GameFolder
from siri_verl.envs.alfworld.tasks import TASK_TYPES

STEPS_LIMIT, RESET_LIMIT, MEMORY_LIMIT_MIB = 15, 10, 400
ENVIRONMENTS, RESETS = 64, 3


def games(folder: Path, count: int) -> list[str]:
    """Training games, evenly over the task types."""
    if not folder.exists():
        from siri_verl.demos.alfworld.generator import generate

        generate(folder, games=120, validation=6, rooms="full", check=False)
    known = list(GameFolder(folder).listing("train").games.values())
    by_type = [[game for game in known if game.task_type == kind] for kind in TASK_TYPES]
    turns = [group[number] for number in range(max(map(len, by_type))) for group in by_type if number < len(group)]
    if len(turns) < count:
        raise SystemExit(f"{folder}: {len(turns)} training games, {count} are needed")
    return [str(game.path) for game in turns[:count]]


def player():
    """An environment as alfworld makes it."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs.pddl import PddlEnv

    return AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)), shuffle=False)


def play(mode: str, files: list[str], steps: int) -> dict:
    """Random walks: CPU seconds of steps, first loads with reset, and resets again; a hash of all that was told."""
    if mode == "fast":
        from siri_verl.envs.alfworld import fast_textworld

        fast_textworld()
    seconds = {"first": 0.0, "reset": 0.0, "step": 0.0}
    told, env, clock = hashlib.sha256(), player(), time.process_time
    for file in files:
        began = clock()
        env.load(file)
        state = env.reset()
        seconds["first"] += clock() - began
        began = clock()
        for _ in range(RESETS):
            state = env.reset()
        seconds["reset"] += clock() - began
        rng = random.Random(Path(file).parent.name)
        for _ in range(steps):
            told.update(json.dumps([state.feedback, state["admissible_commands"], state["won"]]).encode())
            command = rng.choice(state["admissible_commands"])
            began = clock()
            state, _, _ = env.step(command)
            seconds["step"] += clock() - began
        told.update(state.feedback.encode())
    return {**seconds, "trace": told.hexdigest()}


def child(*arguments: str) -> dict:
    """One measurement in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments[:2])}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_speed(files: list[str], steps: int, chunk: int = 3) -> dict:
    """Both layers over all games, alternating every few games."""
    total = {mode: {"first": 0.0, "reset": 0.0, "step": 0.0} for mode in ("stock", "fast")}
    identical = True
    for start in range(0, len(files), chunk):
        part = files[start : start + chunk]
        results = {mode: child("play", mode, str(steps), *part) for mode in total}
        identical &= results["stock"]["trace"] == results["fast"]["trace"]
        for mode, sums in total.items():
            for name in sums:
                sums[name] += results[mode][name]
    result: dict = {"games": len(files), "steps": steps * len(files), "identical_traces": identical}
    for mode, sums in total.items():
        result[mode] = {
            "steps_per_second": steps * len(files) / sums["step"],
            "first_load_and_reset_s": sums["first"] / len(files),
            "repeated_reset_s": sums["reset"] / len(files) / RESETS,
        }
    stock, fast = result["stock"], result["fast"]
    result["times_steps_per_second"] = fast["steps_per_second"] / stock["steps_per_second"]
    result["times_faster_reset"] = stock["repeated_reset_s"] / fast["repeated_reset_s"]
    result["times_faster_first"] = stock["first_load_and_reset_s"] / fast["first_load_and_reset_s"]
    return result


def occupied(files: list[str], steps: int = 20) -> dict:
    """MiB resident and private of this process with 64 environments in play."""
    from siri_verl.envs.alfworld import fast_textworld
    from siri_verl.envs.servers.process import private_memory_mib

    fast_textworld()
    envs = []
    for number in range(ENVIRONMENTS):
        env = player()
        env.load(files[number % len(files)])
        state, rng = env.reset(), random.Random(number)
        for _ in range(steps):
            state, _, _ = env.step(rng.choice(state["admissible_commands"]))
        envs.append(env)
    gc.collect()
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {"resident": int(fields["VmRSS"].split()[0]) / 1024, "private": private_memory_mib()}


def measure_memory(folder: Path) -> dict:
    """Of 64 environments: all in different games, and sixteen in each of four."""
    different, groups = child("occupy", *games(folder, ENVIRONMENTS)), child("occupy", *games(folder, 4))
    return {
        "environments": ENVIRONMENTS,
        "distinct_games_mib": different["resident"],
        "distinct_games_private_mib": different["private"],
        "four_games_mib": groups["resident"],
    }


def main() -> None:
    """Entry point."""
    if sys.argv[1:2] == ["play"]:
        mode, steps, *files = sys.argv[2:]
        print(json.dumps(play(mode, files, int(steps))))
        return
    if sys.argv[1:2] == ["occupy"]:
        print(json.dumps(occupied(sys.argv[2:])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("all", "speed", "memory"))
    parser.add_argument("--games", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12, help="games of the speed measurement")
    parser.add_argument("--steps", type=int, default=60, help="steps in each")
    options = parser.parse_args()
    result: dict = {}
    if options.what != "memory":
        result |= measure_speed(games(options.games, options.count), options.steps)
    if options.what != "speed":
        result |= measure_memory(options.games)
    for name, value in result.items():
        print(f"{name}: {value}")
    print(json.dumps(result))
    missed = [
        name
        for name, kept in {
            "identical traces": result.get("identical_traces", True),
            f"{STEPS_LIMIT} times the steps per second": result.get("times_steps_per_second", 1e9) >= STEPS_LIMIT,
            f"{RESET_LIMIT} times faster resets": result.get("times_faster_reset", 1e9) >= RESET_LIMIT,
            f"{ENVIRONMENTS} environments": result.get("distinct_games_mib", 0) < MEMORY_LIMIT_MIB,
        }.items()
        if not kept
    ]
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
