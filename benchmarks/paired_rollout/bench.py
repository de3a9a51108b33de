# SPDX-License-Identifier: Apache-2.0
"""What pairing and internalization cost: paired steps against all-plain steps of the same run.

    bash recipes/siri_webshop.sh trainer.total_training_steps=1      # makes data/webshop_demo and its model
    python benchmarks/paired_rollout/bench.py --steps 20 --out benchmarks/paired_rollout/results.json

Two runs with a learning rate of 0, so that the policy stays the same. In each, odd steps are all plain and even steps
pair every group, with as many trajectories. The first run stays in phase 1 (no extra rows): rollout and log-probs. The
second stays in phase 2 with the gate open: the update's time against the tokens that were added.
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

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.demos.webshop.words import NOUNS
from siri_verl.envs.panels import make_panel, write_dataset
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
STRATEGY = "search the words of the task, open the first product, choose every option named, then buy now"
ROLLOUT_LIMIT, UPDATE_LIMIT = 1.10, 1.1


def make_bank(path: Path) -> None:
    """One active skill for every department."""
    bank = SkillBank()
    for department in NOUNS:
        skill = bank.add("when shopping", STRATEGY, department, Provenance("", "", 0, "hand")).skill
        assert skill is not None
        for k in range(12):
            bank.record(TreatmentEffect("g", skill.skill_id, 0.5, 1.0, 0.5, 4, 4, ""), f"t{k}", 0)
    save_bank(bank, path)


def run(inputs: Path, model: Path, store: Path, phase: str, steps: int, more: list[str]) -> list[dict[str, float]]:
    """Records of the steps, without the first pair."""
    folder = inputs / phase
    command = [
        *(sys.executable, str(HERE / "alternating_run.py"), "+siri=[webshop,cpu,cpu_small,webshop_demo]"),
        *(f"data.train_files={inputs}/train.parquet", f"data.val_files={inputs}/validation.parquet"),
        *(f"siri.environment.kwargs.store={store}", f"actor_rollout_ref.model.path={model}"),
        *(f"siri.initial_bank={inputs}/bank.jsonl", f"siri.phases.fixed={phase}", "siri.mining.every=1000000"),
        *("actor_rollout_ref.actor.optim.lr=0.0", "siri.internalization.gate=false", "siri.utility.retire_below=-0.99"),
        *("trainer.val_before_train=False", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        *(f"trainer.total_training_steps={steps + 2}", f"trainer.default_local_dir={folder}", *more),
    ]
    result = subprocess.run(
        command, cwd=inputs, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(f"{phase}: failed\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()][2:]


def split(steps: list[dict[str, float]], value) -> tuple[float, float]:
    """Medians of a value over paired and over plain steps."""
    return tuple(statistics.median(value(s) for s in steps if bool(s["paired"]) is kind) for kind in (True, False))


def summary(mining: list[dict[str, float]], internalization: list[dict[str, float]]) -> dict[str, float]:
    """Ratios of paired to plain."""
    found = {}
    for name, value in {
        "rollout_and_log_prob": lambda s: s["gen_s"] + s["old_log_prob_s"],
        "rollout_and_log_prob_per_row": lambda s: (s["gen_s"] + s["old_log_prob_s"]) / s["rows"],
        "rows": lambda s: s["rows"],
        "tokens_per_row": lambda s: s["turn_tokens"] / s["rows"],
    }.items():
        paired, plain = split(mining, value)
        found[f"{name}_ratio"] = paired / plain
    # Per token of policy rows, so that longer episodes or prompts of paired steps do not count as extra rows' time.
    paired, plain = split(internalization, lambda s: s["update_actor_s"] / s["turn_tokens"])
    share = statistics.median(s["added_tokens"] / s["turn_tokens"] for s in internalization if s["paired"])
    found |= {"update_extra_time": paired / plain - 1, "added_token_share": share}
    found["update_extra_time_over_share"] = found["update_extra_time"] / share
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shop", type=Path, default=ROOT / "data" / "webshop_demo")
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "webshop_demo_model" / "model")
    parser.add_argument("--steps", type=int, default=20, help="measured steps of each run")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("overrides", nargs="*", help="further settings for both runs")
    given = parser.parse_args()
    store = given.shop.resolve() / "store"
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary)
        for name in ("train", "validation"):
            write_dataset(make_panel("webshop", {"store": str(store)}, f"demo/{name}"), inputs / f"{name}.parquet")
        make_bank(inputs / "bank.jsonl")
        records = {
            phase: run(inputs, given.model.resolve(), store, phase, given.steps, given.overrides)
            for phase in ("mining", "internalization")
        }
    found = summary(records["mining"], records["internalization"])
    for name, value in found.items():
        print(f"{name}: {value:.3f}")
    if given.out:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "verl": version("verl")}
        given.out.write_text(json.dumps({"machine": machine, "summary": found, "steps": records}, indent=1) + "\n")
    missed = [
        f"{name} {found[name]:.3f} is above {limit}"
        for name, limit in (
            ("rollout_and_log_prob_ratio", ROLLOUT_LIMIT),
            ("update_extra_time_over_share", UPDATE_LIMIT),
        )
        if found[name] > limit
    ]
    sys.exit("\n".join(missed) or 0)


if __name__ == "__main__":
    main()
