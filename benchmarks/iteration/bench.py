# SPDX-License-Identifier: Apache-2.0
"""Seconds and CPU seconds of a demo iteration, by stage and by process, of several checkouts in alternating runs.

    python benchmarks/iteration/bench.py --demo DEMO --checkout before=/path/to/old --checkout after=. --rounds 2

DEMO is a folder in which `bash recipes/siri_webshop.sh` prepared the shop, the panels and the warm-started model. Every
checkout runs the demo's own command with this interpreter and its own code (PYTHONPATH), without validation. Figures
are means over the steps after `--skip`; a stage's wall time is verl's `timing_s/*`. A process's CPU time is what it
used between the ends of the first and the last of these steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

STAGES = ("step", "mining", "gen", "old_log_prob", "adv", "update_actor", "update_weights")


def command(demo: Path, folder: Path, steps: int, more: list[str]) -> list[str]:
    """verl's command with the demo's settings."""
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", "+siri=[webshop,cpu,cpu_small,webshop_demo]"),
        f"data.train_files={demo}/runs/siri_webshop/train.parquet",
        f"data.val_files={demo}/runs/siri_webshop/validation.parquet",
        f"siri.environment.kwargs.store={demo}/data/webshop_demo/store",
        f"actor_rollout_ref.model.path={demo}/data/webshop_demo_model/model",
        *("siri.seed=1", "trainer.experiment_name=bench", f"trainer.default_local_dir={folder}"),
        *("trainer.val_before_train=False", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        f"trainer.total_training_steps={steps}",
        *more,
    ]


def name_of(process: psutil.Process) -> str:
    """`ray::Name` of a Ray worker, else the program or module."""
    words = process.cmdline()
    if not words:
        return process.name()
    if words[0].startswith("ray::"):
        return re.split(r"[. ]", words[0])[0]
    if "verl.trainer.main_ppo" in words:
        return "driver"
    return Path(words[0]).name if "python" not in words[0] else "ray's own python processes"


def cpu_seconds(root: psutil.Process) -> dict[str, float]:
    """CPU seconds so far, by process name."""
    found: dict[str, float] = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            times, name = process.cpu_times(), name_of(process)
        except psutil.Error:
            continue
        found[name] = found.get(name, 0.0) + times.user + times.system
    return found


def train_rows(path: Path) -> list[dict[str, float]]:
    """Metrics of the steps so far; a line that is being written is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [row["metrics"] for row in map(json.loads, lines) if row["kind"] == "train"]


def run(checkout: Path, demo: Path, steps: int, skip: int, more: list[str]) -> dict[str, Any]:
    """One run.

    Returns:
        start_up: seconds to the end of the first step, without that step; seconds: stage -> mean seconds per step;
        cpu: process -> mean CPU seconds per step; rewards: step -> mean score, to compare runs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        env = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        began = time.perf_counter()
        with open(Path(name) / "log", "w", encoding="utf-8") as log:
            child = subprocess.Popen(
                command(demo, folder, steps, more), cwd=checkout, env=env, stdout=log, stderr=subprocess.STDOUT
            )
            root, seen, marks = psutil.Process(child.pid), 0, {}
            first_end = 0.0
            while child.poll() is None:
                rows = len(train_rows(folder / "metrics.jsonl"))
                if rows > seen:
                    seen, first_end = rows, first_end or time.perf_counter() - began
                    marks[rows] = cpu_seconds(root)
                time.sleep(0.1)
        if child.returncode:
            sys.exit(f"{checkout}: failed\n{(Path(name) / 'log').read_text()[-5000:]}")
        rows = train_rows(folder / "metrics.jsonl")
        last = max(marks)
        first = min(mark for mark in marks if mark >= skip)
        counted = rows[skip:]
        return {
            "start_up": first_end - rows[0]["timing_s/step"],
            "seconds": {s: mean(row.get(f"timing_s/{s}", 0.0) for row in counted) for s in STAGES},
            "cpu": {k: (v - marks[first].get(k, 0.0)) / (last - first) for k, v in marks[last].items()},
            "scores": [row["critic/score/mean"] for row in rows],
        }


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Means over the rounds, and the ratio of the first checkout to each other one."""
    names = list(results)
    head = "| | " + " | ".join(names) + " |\n|---|" + "---|" * len(names)
    lines = [head]

    def line(label: str, values: list[float]) -> None:
        ratios = [f" ({values[0] / v:.2f}x)" if i and v > 0 else "" for i, v in enumerate(values)]
        lines.append(f"| {label} | " + " | ".join(f"{v:.2f}{r}" for v, r in zip(values, ratios, strict=True)) + " |")

    line("start-up, s", [mean(r["start_up"] for r in results[n]) for n in names])
    for stage in STAGES:
        line(f"{stage}, s", [mean(r["seconds"][stage] for r in results[n]) for n in names])
    line("CPU s per step", [mean(sum(r["cpu"].values()) for r in results[n]) for n in names])
    processes = sorted({p for n in names for r in results[n] for p in r["cpu"]})
    means = {p: [mean(r["cpu"].get(p, 0.0) for r in results[n]) for n in names] for p in processes}
    for process in sorted(processes, key=lambda p: -means[p][0]):
        if max(means[process]) >= 0.02:
            line(f"CPU s, {process}", means[process])
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--checkout", action="append", required=True, metavar="NAME=PATH[,OVERRIDE...]")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--skip", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    checkouts = dict(text.split("=", 1) for text in args.checkout)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    for _ in range(args.rounds):
        for name, text in checkouts.items():
            path, *more = text.split(",")
            results[name].append(run(Path(path).resolve(), args.demo.resolve(), args.steps, args.skip, more))
            print(f"{name}: {results[name][-1]['seconds']['step']:.2f} s per step", file=sys.stderr, flush=True)
    same = len({tuple(r["scores"]) for rounds in results.values() for r in rounds}) == 1
    text = f"{table(results)}\n\nEqual scores in all runs: {same}. {platform.machine()}, {os.cpu_count()} cores."
    print(text)
    if args.out:
        args.out.write_text(json.dumps({"arguments": vars(args), "results": results}, default=str, indent=1) + "\n")


if __name__ == "__main__":
    main()
