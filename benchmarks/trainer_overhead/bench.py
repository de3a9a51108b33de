# SPDX-License-Identifier: Apache-2.0
"""Driver-side seconds per step of the siri trainer mode over those of verl's own sync mode, on the same rows.

    python benchmarks/trainer_overhead/bench.py --rounds 2 --steps 12 --out benchmarks/trainer_overhead/results.json

Every variant plays the same episodes: same model, tasks and request seeds, and a learning rate of 0, so that the policy
stays the same whatever the estimator says. Runs of the variants alternate; medians are taken over the steps of all
rounds, without each run's first step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "tests"))

from support.tiny_model import write_toy_inputs  # noqa: E402

VARIANTS = {
    "sync, grpo": ("trainer.v1.trainer_mode=sync", "algorithm.adv_estimator=grpo"),
    "siri, grpo": ("trainer.v1.trainer_mode=siri", "algorithm.adv_estimator=grpo"),
    "siri, gigpo": ("trainer.v1.trainer_mode=siri", "algorithm.adv_estimator=gigpo"),
}
BASELINE = "sync, grpo"
LIMIT = 1.05


def run(inputs: Path, folder: Path, variant: str, steps: int, more: list[str]) -> list[dict[str, float]]:
    """Records of a variant's steps, without the first."""
    command = [
        *(sys.executable, str(HERE / "timed_run.py"), "+siri=[base,cpu,cpu_small]", *VARIANTS[variant]),
        f"data.train_files={inputs}/train.parquet",
        f"data.val_files={inputs}/validation.parquet",
        f"actor_rollout_ref.model.path={inputs}/model",
        *("data.max_prompt_length=512", "data.max_response_length=16"),
        *("actor_rollout_ref.actor.optim.lr=0.0", "siri.rollout.max_turns=4", "siri.update.mini_batches=null"),
        # Phase 0 alone, as in verl's sync mode: no skills.
        "siri.phases.fixed=warm_up",
        *("trainer.val_before_train=False", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        # The last step ends where the next would begin, so one more.
        f"trainer.total_training_steps={steps + 2}",
        f"trainer.default_local_dir={folder}",
        *more,
    ]
    result = subprocess.run(
        command, cwd=inputs, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(f"{variant}: failed\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    lines = (folder / "driver_seconds.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][1:]


def summary(records: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Medians by variant, and ratios to verl's sync mode."""
    medians = {
        variant: {name: statistics.median(step[name] for step in steps) for name in steps[0]}
        for variant, steps in records.items()
    }
    for variant, values in medians.items():
        values["steps"] = len(records[variant])
        for name in ("driver_s", "driver_cpu_s"):
            values[f"{name}_ratio"] = values[name] / medians[BASELINE][name]
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12, help="measured steps of each run")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", help="further settings for every run")
    given = parser.parse_args()
    records: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary)
        write_toy_inputs(inputs)
        for number in range(given.rounds):
            # Forward, then backward, so that a drift of the machine's load meets all variants alike.
            for variant in list(VARIANTS)[:: 1 if number % 2 == 0 else -1]:
                folder = inputs / f"{number} {variant}".replace(", ", "_").replace(" ", "_")
                records[variant] += run(inputs, folder, variant, given.steps, given.overrides)
                print(f"round {number + 1}, {variant}: {json.dumps(summary({BASELINE: records[variant]})[BASELINE])}")
    sizes = {variant: [(step["rows"], step["tokens"]) for step in steps] for variant, steps in records.items()}
    if len({tuple(size) for size in sizes.values()}) != 1:
        sys.exit(f"the variants did not see the same rows: {sizes}")
    medians = summary(records)
    for variant, values in medians.items():
        print(variant, json.dumps({name: round(value, 4) for name, value in values.items()}))
    if given.out:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "verl": version("verl")}
        given.out.write_text(json.dumps({"machine": machine, "medians": medians, "steps": records}, indent=1) + "\n")
    worst = max(values["driver_s_ratio"] for values in medians.values())
    sys.exit(f"driver-side ratio {worst:.3f} is above {LIMIT}" if worst > LIMIT else 0)


if __name__ == "__main__":
    main()
