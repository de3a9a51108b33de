# SPDX-License-Identifier: Apache-2.0
"""Time of `read_turns` and `gigpo` against the number of rows.

    python benchmarks/gigpo/bench.py            # prints the table of README.md

Batches are made like real ones: 8 trajectories per task, 2 to 15 turns each, states shared by trajectories of a task.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import time

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.turns import read_turns


def make_batch(rows: int, seed: int = 0) -> dict[str, list]:
    """Columns of about a batch of `rows` turns, cut to exactly that number."""
    rng = random.Random(seed)
    batch: dict[str, list] = {name: [] for name in ("group", "trajectory", "turn", "anchor", "reward", "valid")}
    task = 0
    while len(batch["group"]) < rows:
        pages = [f"WebShop [SEP] task {task} [SEP] page {page} [SEP] " + "product title " * 20 for page in range(12)]
        for run in range(8):
            turns = rng.randint(2, 15)
            for turn in range(turns):
                batch["group"].append(f"task-{task}")
                batch["trajectory"].append(f"run-{run}")
                batch["turn"].append(turn)
                batch["anchor"].append(pages[0] if turn == 0 else rng.choice(pages))
                batch["reward"].append(10.0 if turn == turns - 1 and rng.random() < 0.4 else 0.0)
                batch["valid"].append(rng.random() < 0.95)
        task += 1
    return {name: column[:rows] for name, column in batch.items()}


def median_ms(batch: dict[str, list], repeats: int, settings: GigpoSettings) -> float:
    """Median wall time of `repeats` calls after one warm-up, in milliseconds."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        gigpo(read_turns(**batch), settings)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 5_000, 20_000, 50_000, 100_000])
    parser.add_argument("--json", help="also write the numbers to this file")
    args = parser.parse_args()
    settings = {
        "exact, mean": GigpoSettings(),
        "exact, mean_std": GigpoSettings(norm="mean_std", episode_stats="per_trajectory"),
        "similarity .95, mean": GigpoSettings(similarity=0.95),
    }
    print(f"{platform.machine()}, Python {platform.python_version()}, median of {args.repeats} calls")
    print("| rows | " + " | ".join(f"{name} (ms)" for name in settings) + " | us per row (exact, mean) |")
    print("|---" * (len(settings) + 2) + "|")
    results = []
    for rows in args.rows:
        batch = make_batch(rows)
        times = {name: median_ms(batch, args.repeats, chosen) for name, chosen in settings.items()}
        cells = " | ".join(f"{t:.1f}" for t in times.values())
        print(f"| {rows:,} | {cells} | {1e3 * times['exact, mean'] / rows:.2f} |", flush=True)
        results.append({"rows": rows, **times})
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
