# SPDX-License-Identifier: Apache-2.0
"""Time of a turn, and memory of many sessions in one process.

    python benchmarks/webshop/bench_sessions.py --store DIR [--sessions 64] [--turns 5000]

Every number comes from this run; memory is measured in fresh processes, one per number of sessions. `resident` is all
a process occupies, `private` what it shares with no other. Every process plays the same number of episodes in all,
because the catalogue keeps the last 512 products it decoded whoever asked for them. Exits non-zero when a limit is
missed: a turn without search under 0.3 ms (median), 64 sessions under 1.1 times the memory of one.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import time

from siri_verl.envs.registry import make_environment
from siri_verl.envs.servers.process import private_memory_mib

STEP_LIMIT_MS, MEMORY_LIMIT = 0.3, 1.1
EPISODES, EPISODE = 256, 15  # played in all by each process of the memory measurement, and turns of each


def choose(rng: random.Random, info: dict) -> str:
    """A random admissible action that does not buy; searches for words of the task."""
    offers = [action for action in info["admissible_actions"] if action != "click[buy now]"]
    action = rng.choice(offers)
    return f"search[{' '.join(info['task'].split()[3:8])}]" if action.startswith("search") else action


def time_turns(store: str, text: str, turns: int) -> dict[str, list[float]]:
    """Milliseconds per turn, by whether it searched."""
    env = make_environment("webshop", store=store, text=text, max_turns=25)
    rng = random.Random(0)
    tasks = env.unwrapped.task_ids()
    times: dict[str, list[float]] = {"search": [], "other": []}
    ended = True
    while len(times["other"]) < turns:
        if ended:
            _, info = env.reset(seed=0, options={"task_id": rng.choice(tasks)})
        action = choose(rng, info)
        began = time.perf_counter()
        _, _, terminated, truncated, info = env.step(action)
        elapsed = 1000 * (time.perf_counter() - began)
        times["search" if action.startswith("search") else "other"].append(elapsed)
        ended = terminated or truncated
    return times


def memory_of(store: str, sessions: int) -> dict[str, float]:
    """Memory of this process in MiB while `sessions` episodes are running, `EPISODES` in all."""
    rng = random.Random(0)
    envs = [make_environment("webshop", store=store, max_turns=EPISODE + 1) for _ in range(sessions)]
    tasks = envs[0].unwrapped.task_ids()
    for turn in range(EPISODES * EPISODE // sessions):
        if turn % EPISODE == 0:
            infos = [env.reset(seed=0, options={"task_id": rng.choice(tasks)})[1] for env in envs]
        infos = [env.step(choose(rng, info))[4] for env, info in zip(envs, infos, strict=True)]
    gc.collect()
    with open("/proc/self/status") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024
    return {"resident": resident, "private": private_memory_mib()}


def in_fresh_process(store: str, sessions: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--store", store, "--memory-of", str(sessions)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5000)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(json.dumps(memory_of(arguments.store, arguments.memory_of)))
        return 0
    missed = []
    print("| text | turn without search, median ms | 99 % ms | turn with search, median ms |\n|---|---|---|---|")
    for text in ("rich", "original", "compact"):
        times = time_turns(arguments.store, text, arguments.turns)
        median, tail = statistics.median(times["other"]), statistics.quantiles(times["other"], n=100)[98]
        print(f"| {text} | {median:.3f} | {tail:.3f} | {statistics.median(times['search']):.3f} |")
        missed += [f"{text}: {median:.3f} ms"] * (median >= STEP_LIMIT_MS)
    one, many = (in_fresh_process(arguments.store, count) for count in (1, arguments.sessions))
    print(f"\n| memory, MiB | 1 session | {arguments.sessions} sessions | ratio |\n|---|---|---|---|")
    for kind in one:
        ratio = many[kind] / one[kind]
        print(f"| {kind} | {one[kind]:.1f} | {many[kind]:.1f} | {ratio:.3f} |")
        missed += [f"memory ({kind}): ratio {ratio:.3f}"] * (ratio >= MEMORY_LIMIT)
    for miss in missed:
        print(f"LIMIT MISSED: {miss}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
