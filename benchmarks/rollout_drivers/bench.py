# SPDX-License-Identifier: Apache-2.0
"""Asynchronous against lock-step rollouts, and paired arms against two passes, over the same episodes and latencies.

    python benchmarks/rollout_drivers/bench.py --out benchmarks/rollout_drivers/results.json
    python benchmarks/rollout_drivers/bench.py --check-real-time           the same coroutines in real time

Everything runs in virtual time (clock.py): drivers are ordinary coroutines, the policy server is its latencies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.rollout_drivers import episodes as lengths  # noqa: E402
from benchmarks.rollout_drivers.clock import simulate  # noqa: E402
from benchmarks.rollout_drivers.drivers import DRIVERS, Driver, Outcome  # noqa: E402
from benchmarks.rollout_drivers.policy_server import H100_1_5B, PolicyServer, Speed  # noqa: E402

CONCURRENCY = (8, 32, 128, 512)
SHARES = (0.1, 0.3, 0.7)
"""Share of episodes that are cut off: after training, while training, before training."""
KINDS = {"webshop_like": lengths.WEBSHOP_LIKE, "alfworld_like": lengths.ALFWORLD_LIKE}


def simulated(driver: Driver, episodes: lengths.Episodes, speed: Speed) -> Outcome:
    """One driver over some episodes, in virtual time."""

    async def main() -> Outcome:
        server = PolicyServer(speed)
        await driver(episodes, server)
        return Outcome(asyncio.get_running_loop().time(), server.generations, server.tokens)

    return simulate(main())


def rows_of(name: str, share: float, episodes: lengths.Episodes, speed: Speed) -> dict[str, Any]:
    """Seconds and generations of every driver over the same episodes."""
    outcomes = {driver: simulated(run, episodes, speed) for driver, run in DRIVERS.items()}
    return {
        **{"episodes": name, "unfinished": share, "concurrency": len(episodes), "turns": sum(map(len, episodes))},
        "seconds": {driver: outcome.seconds for driver, outcome in outcomes.items()},
        "generations": {driver: outcome.generations for driver, outcome in outcomes.items()},
    }


def ratio(row: dict[str, Any], driver: str, of: str = "seconds") -> float:
    """A driver's seconds or generations over those of the asynchronous loop."""
    return row[of][driver] / row[of]["asynchronous"]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Ratios to the asynchronous loop."""
    columns = ("episodes", "cut off", "sessions", "lock step: time", "generations", "of unfinished: time")
    lines = [f"| {' | '.join(columns)} | arm after arm: time |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        share = f"{row['unfinished']:.0%}"
        figures = [
            ratio(row, "lock step"),
            ratio(row, "lock step", "generations"),
            ratio(row, "lock step of unfinished"),
            ratio(row, "one arm after the other"),
        ]
        cells = " | ".join(f"{figure:.2f}" for figure in figures)
        lines.append(f"| {row['episodes']} | {share} | {row['concurrency']} | {cells} |")
    return "\n".join(lines)


def picture(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Times relative to the asynchronous loop over the number of sessions, a panel per kind of episode."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(KINDS), figsize=(9, 3.6), sharey=True, layout="constrained")
    drivers = {"lock step": "-", "lock step of unfinished": "--", "one arm after the other": ":"}
    for panel, kind in zip(panels, KINDS, strict=True):
        for share, colour in zip(SHARES, ("#0072b2", "#e69f00", "#009e73"), strict=True):
            found = [row for row in rows if row["episodes"] == kind and row["unfinished"] == share]
            for driver, style in drivers.items():
                x, y = [row["concurrency"] for row in found], [ratio(row, driver) for row in found]
                label = f"{driver}, {share:.0%} cut off" if panel is panels[-1] else None
                panel.plot(x, y, style, color=colour, marker="o", markersize=3, label=label)
        panel.set(title=kind.replace("_", "-"), xlabel="sessions at once", xscale="log")
        panel.set_xticks(CONCURRENCY, [str(n) for n in CONCURRENCY])
        panel.axhline(1, color="grey", linewidth=0.8)
    panels[0].set_ylabel("time / time of the asynchronous loop")
    figure.legend(loc="outside right center", fontsize=7, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def check_real_time() -> str:
    """Virtual against real time for eight short episodes on a slowed server: how far simulation is from asyncio."""
    slow = Speed(0.02, 0.001, 0.0)
    episodes = lengths.Lengths(4, 0.3, 3.0, (10, 2), 12, environment=0.05).draw(8, seed=1)
    lines = []
    for name, driver in DRIVERS.items():
        started = time.perf_counter()
        asyncio.run(driver(episodes, PolicyServer(slow)))  # type: ignore[arg-type]
        real, virtual = time.perf_counter() - started, simulated(driver, episodes, slow).seconds
        lines.append(f"{name}: {real:.2f} s in real time, {virtual:.2f} s in virtual time ({real / virtual - 1:+.1%})")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-real-time", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    speed = H100_1_5B
    if args.check_real_time:
        print(check_real_time())
        return
    rows = []
    for name, of_kind in KINDS.items():
        for share in SHARES:
            for count in CONCURRENCY:
                drawn = lengths.with_unfinished(of_kind, share).draw(count, args.seed)
                rows.append(rows_of(name, share, drawn, speed))
    print(table(rows))
    print(f"\nServer: {speed.source}: {speed}")
    if args.out:
        facts = {"seed": args.seed, "speed": vars(speed), "rows": rows}
        picture(rows, args.out.with_suffix(".png"))
        args.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
