# SPDX-License-Identifier: Apache-2.0
"""Soak: thousands of episodes through the environment servers, hundreds of trainer steps; what a process keeps.

    python benchmarks/soak/bench.py episodes --count 4000 --out soak     # 20 minutes on one core
    python benchmarks/soak/bench.py trainer --steps 300 --out soak       # an hour on two cores
    python benchmarks/soak/bench.py draw --out soak                      # curves, table, exit code 1 past a bound

All processes of the job are sampled: memory of their own (USS), open files, their number, segments of shared memory.
The first fifth of the samples is the warm-up; after it a straight line is fitted, and its rise from the first to the
last sample must stay below the bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

NAME = "SIRI_SOAK"
EVERY = 5.0
"""Seconds between two samples."""
WARM_UP = 0.2
BOUNDS = {
    "memory": (0.10, "share of the memory after warm-up"),
    "files": (0.05, "share of the open files after warm-up"),
    "processes": (2.0, "processes"),
    "segments": (4.0, "segments"),
    "seconds": (0.25, "share of a step's or episode's time after warm-up"),
}
"""Rise over the job that is allowed."""
SHARES = ("memory", "files", "seconds")


def members(name: str) -> list[psutil.Process]:
    """The processes of a job, by the variable that they inherit."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(NAME) == name:
                found.append(process)
        except psutil.Error:
            continue
    return found


def sample(name: str) -> dict[str, float]:
    """One look at all processes of a job."""
    memory = files = count = 0
    for process in members(name):
        try:
            memory += process.memory_full_info().uss
            files += process.num_fds()
            count += 1
        except psutil.Error:
            continue
    shared = len(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else 0
    return {"memory": memory / 2**20, "files": files, "processes": count, "segments": shared}


class Sampler:
    """Writes a sample every few seconds until it is left."""

    def __init__(self, name: str, path: Path, progress):
        self.name, self.path, self.progress = name, path, progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._stop.wait(EVERY):
            line = {"at": time.monotonic() - begun, "done": self.progress(), **sample(self.name)}
            with self.path.open("a") as out:
                out.write(json.dumps(line) + "\n")


def episodes(count: int, out: Path) -> None:
    """Play episodes of the toy game in two environment servers, sixteen at a time."""
    import ray

    from siri_verl.envs.servers.pool import EnvironmentPool, PoolSettings
    from siri_verl.envs.toy import toy_tasks

    name = os.environ[NAME]
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    done, tasks = [0], list(toy_tasks("train"))

    async def play(number: int, pool: EnvironmentPool) -> None:
        rng = random.Random(number)
        async with await pool.open(f"e{number}", tasks[number % len(tasks)], number) as session:
            while not session.result.ended:
                await session.step(rng.choice(session.result.info["admissible_actions"]))
        done[0] += 1

    async def everything() -> None:
        pool = await EnvironmentPool.connect_or_create(
            "soak", PoolSettings("toy", num_servers=2, sessions_per_server=16)
        )
        gate = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with gate:
                await play(number, pool)

        for begin in range(0, count, 500):
            await asyncio.gather(*(one(n) for n in range(begin, min(begin + 500, count))))
        print(await pool.metrics(), flush=True)
        await pool.shutdown()

    with Sampler(name, out / "episodes.jsonl", lambda: done[0]):
        asyncio.run(everything())
    ray.shutdown()


def trainer(steps: int, out: Path) -> None:
    """Train the smallest model on the toy game."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from support.configs import toy_command
    from support.tiny_model import write_toy_inputs

    from siri_verl.runs.metrics import read_metrics

    inputs, run, name = out / "inputs", out / "run", f"trainer{os.getpid()}"
    inputs.mkdir(parents=True, exist_ok=True)
    write_toy_inputs(inputs)
    settings = (
        *("data.max_prompt_length=512", "data.max_response_length=12", "actor_rollout_ref.rollout.n=4"),
        *("data.train_batch_size=2", "actor_rollout_ref.actor.ppo_mini_batch_size=2", "siri.update.mini_batches=1"),
        *(f"trainer.total_training_steps={steps}", "trainer.total_epochs=100000", "trainer.test_freq=50"),
        *("trainer.save_freq=50", "trainer.max_actor_ckpt_to_keep=2", "siri.rollout.max_malformed_share=null"),
        *("siri.phases.warm_up_max_steps=20", "siri.phases.mining_max_steps=20", "siri.phases.allow_empty=true"),
    )

    def progress() -> int:
        metrics = run / "metrics.jsonl"
        records = read_metrics(metrics) if metrics.is_file() else []
        return max((r["step"] for r in records if r["kind"] == "train"), default=0)

    environment = {**os.environ, NAME: name, "OMP_NUM_THREADS": "1"}
    with (out / "trainer.log").open("wb") as log, Sampler(name, out / "trainer.jsonl", progress):
        command = toy_command(inputs.absolute(), run.absolute(), *settings)
        subprocess.run(command, cwd=inputs, env=environment, stdout=log, stderr=log, check=True)
    time.sleep(20)
    left = [process.name() for process in members(name)]
    (out / "trainer_left.json").write_text(json.dumps(left))


def rises(lines: list[dict]) -> dict[str, tuple[float, float]]:
    """Name -> (mean after warm-up, rise of the fitted line over the rest, in the bound's unit)."""
    kept = [line for line in lines if line["done"] > 0]
    kept = kept[int(len(kept) * WARM_UP) :]
    at = np.array([line["at"] for line in kept])
    found = {}
    for name in BOUNDS:
        values = np.array([line[name] for line in kept if name in line], dtype=float)
        slope = np.polyfit(at, values, 1)[0] if len(values) > 2 else np.nan
        rise, mean = slope * (at[-1] - at[0]), values.mean()
        found[name] = (float(mean), float(rise / mean if name in SHARES else rise))
    return found


def with_seconds(lines: list[dict]) -> list[dict]:
    """The samples with the time that a step or episode took between two of them, over windows of a minute."""
    window = max(1, round(60 / EVERY))
    made = []
    for before, line in zip(lines, lines[window:], strict=False):
        done = line["done"] - before["done"]
        if done > 0:
            made.append({**line, "seconds": (line["at"] - before["at"]) / done})
    return made


def draw(out: Path) -> bool:
    """Curves and a table of all jobs in the folder; whether every bound holds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    jobs = [name for name in ("episodes", "trainer") if (out / f"{name}.jsonl").is_file()]
    figure, axes = pyplot.subplots(len(jobs), len(BOUNDS), figsize=(3 * len(BOUNDS), 2.4 * len(jobs)), squeeze=False)
    units = {"memory": "MiB", "files": "open files", "processes": "processes", "segments": "shared segments"}
    good = True
    print("| job | quantity | mean | rise | bound | |\n|---|---|---|---|---|---|")
    for row, job in zip(axes, jobs, strict=True):
        lines = with_seconds([json.loads(line) for line in (out / f"{job}.jsonl").read_text().splitlines()])
        for axis, (name, (bound, what)) in zip(row, BOUNDS.items(), strict=True):
            axis.plot([line["at"] / 60 for line in lines], [line[name] for line in lines], linewidth=1)
            axis.set_ylim(bottom=0)
            axis.set_title(f"{job}: {units.get(name, 'seconds each')}", fontsize=8)
            axis.set_xlabel("minutes", fontsize=7)
            axis.tick_params(labelsize=7)
        for name, (mean, rise) in rises(lines).items():
            bound, what = BOUNDS[name]
            fine = rise <= bound
            good &= fine
            shown = f"{rise:+.1%}" if name in SHARES else f"{rise:+.1f}"
            limit = f"{bound:.0%}" if name in SHARES else f"{bound:.0f} {what}"
            print(
                f"| {job}, {lines[-1]['done']} | {name} | {mean:.4g} | {shown} | {limit} | {'' if fine else 'PAST'} |"
            )
    figure.tight_layout()
    figure.savefig(out / "soak.png", dpi=110)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=["episodes", "trainer", "draw"])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("soak"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.job == "episodes" and NAME not in os.environ:  # a variable that a process sets itself is not seen
        return subprocess.run([sys.executable, *sys.argv], env={**os.environ, NAME: f"job{os.getpid()}"}).returncode
    if asked.job == "episodes":
        episodes(asked.count, asked.out)
    elif asked.job == "trainer":
        trainer(asked.steps, asked.out)
    else:
        return 0 if draw(asked.out) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
