# SPDX-License-Identifier: Apache-2.0
"""The result of recipes/gpu_acceptance.sh: `acceptance.json` and a table.

    python -m siri_verl.acceptance.report --out DIR --device cuda

DIR holds `steps.tsv` (step, exit code, seconds), `parity.json`, and a run folder with `plan.json` per model. Exit code
1 where a step failed, a bound is not kept, or memory exceeds the plan; speed is reported.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from siri_verl.acceptance.device import Device, find_device
from siri_verl.acceptance.speed import stages
from siri_verl.files import write_text_atomically
from siri_verl.planning.architecture import architecture
from siri_verl.runs.config import load_config
from siri_verl.runs.metrics import read_metrics

GIB = 2**30
ITERATIONS = 3
SCHEMA = 1


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The steps of the recipe with exit codes and seconds."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [{"step": name, "exit_code": int(code), "seconds": int(seconds)} for name, code, seconds in rows]


def read_run(folder: Path, device: Device) -> dict[str, Any]:
    """What a run shows: iterations, agreement of server and actor, memory, speed of the last iteration."""
    steps = [record["metrics"] for record in read_metrics(folder / "metrics.jsonl") if record["kind"] == "train"]
    config, last = load_config(folder), steps[-1]
    rollout = config.actor_rollout_ref.rollout
    width = 4 if rollout.dtype in ("float32", "fp32") else 2
    sessions = config.data.train_batch_size * rollout.n
    arch = architecture(config.actor_rollout_ref.model.path)
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    sums = {name: sum(parts.values()) for name, parts in plan["phases"].items()}
    # What the rollout engine holds is no part of torch's count of the trainer's process.
    trainer = max((total - plan["phases"][name].get("sleeping rollout engine", 0) for name, total in sums.items()
                   if name != "rollout"), default=None)  # fmt: skip
    return {
        "iterations": len(steps),
        "rollout": rollout.name,
        "parameters": arch.parameters,
        "malformed_share": 1 - last["siri/valid_share"],
        "probability_difference_max": max(step["training/rollout_probs_diff_max"] for step in steps),
        "probability_difference_mean": max(step["training/rollout_probs_diff_mean"] for step in steps),
        "peak_gib": max(step["actor/perf/max_memory_allocated_gb"] for step in steps),
        "planned_gib": None if trainer is None else trainer / GIB,
        "seconds": [step["timing_s/step"] for step in steps],
        "stages": [
            {"stage": s.name, "tokens_per_second": s.per_second, "share_of_limit": s.share}
            for s in stages(last, arch, device, sessions, width)
        ],
    }


def problems(found: dict[str, Any]) -> list[str]:
    """Why the machine is not accepted."""
    said = [f"{step['step']}: exit code {step['exit_code']}" for step in found["steps"] if step["exit_code"]]
    parity = found["parity"]
    said += ["numbers were not compared"] if parity is None else [
        f"{name} {parity['values'][name]:.3g}, bound {parity['bounds'][name]:g}" for name in parity["outside"]
    ]  # fmt: skip
    for name, run in found["runs"].items():
        if run is None:
            said.append(f"{name}: left no metrics")
            continue
        if run["iterations"] < ITERATIONS:
            said.append(f"{name}: {run['iterations']} of {ITERATIONS} iterations")
        if run["planned_gib"] is not None and run["peak_gib"] > run["planned_gib"]:
            said.append(f"{name}: peak of {run['peak_gib']:.1f} GiB, planned {run['planned_gib']:.1f} GiB")
    return said


def table(found: dict[str, Any]) -> str:
    """The result as a table in Markdown."""
    device, parity = found["device"], found["parity"]
    rows = [(step["step"], "ok" if not step["exit_code"] else "failed", f"{step['seconds']} s")
            for step in found["steps"]]  # fmt: skip
    for name, value in (parity or {"values": {}})["values"].items():
        bound = f"{parity['bounds'][name]:g}"
        rows.append((f"{parity['dtype']} against float32 on the CPU: {name}", f"{value:.3g}", bound))
    for name, run in found["runs"].items():
        if run is None:
            continue
        planned = "no plan on a CPU" if run["planned_gib"] is None else f"planned {run['planned_gib']:.1f} GiB"
        rows.append((f"{name}: peak memory of the trainer", f"{run['peak_gib']:.1f} GiB", planned))
        difference = f"{run['probability_difference_mean']:.2g}, at most {run['probability_difference_max']:.2g}"
        rows.append((f"{name}: probabilities of {run['rollout']} and actor differ by", difference, ""))
        for stage in run["stages"]:
            speed = f"{stage['tokens_per_second']:,.0f} tokens/s"
            rows.append((f"{name}: {stage['stage']}", speed, f"{stage['share_of_limit']:.1%} of the limit"))
    limits = (
        f"{device['name']}: {device['flops'] / 1e12:.3g} TFLOP/s and {device['bandwidth'] / 1e9:.4g} GB/s by "
        f"{device['source']}; measured {device['measured_flops'] / 1e12:.3g} and "
        f"{device['measured_bandwidth'] / 1e9:.4g}"
    )
    lines = [limits, "", "| what | found | bound or remark |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    wrong = found["problems"]
    return "\n".join([*lines, "", "accepted" if not wrong else "not accepted: " + "; ".join(wrong)]) + "\n"


def collect(out: Path, device: Device, runs: list[str]) -> dict[str, Any]:
    """All results of the recipe's folder."""
    parity = out / "parity.json"
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "device": asdict(device),
        "steps": read_steps(out / "steps.tsv"),
        "parity": json.loads(parity.read_text(encoding="utf-8")) if parity.is_file() else None,
        "runs": {
            name: read_run(out / name, device) if (out / name / "metrics.jsonl").is_file() else None for name in runs
        },
    }
    return found | {"problems": problems(found)}


def main() -> None:
    """Write the file, print the table; exit code 1 where the machine is not accepted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("runs", nargs="+", help="names of run folders in OUT")
    args = parser.parse_args()
    found = collect(args.out, find_device(args.device), args.runs)
    text = table(found)
    write_text_atomically(args.out / "acceptance.json", json.dumps(found, indent=2) + "\n")
    write_text_atomically(args.out / "acceptance.md", text)
    print(text, end="")
    raise SystemExit(1 if found["problems"] else 0)


if __name__ == "__main__":
    main()
