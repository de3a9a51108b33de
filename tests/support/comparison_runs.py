# SPDX-License-Identifier: Apache-2.0
"""Folders and results of the comparison as runs leave them. No training here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.siri_vs_gigpo import run, settings  # noqa: E402
from siri_verl.core.phases import Census, PhaseMachine, PhaseSettings  # noqa: E402
from siri_verl.runs.checkpoint import save_state  # noqa: E402
from siri_verl.runs.folder import RunFolder  # noqa: E402
from siri_verl.runs.metrics import MetricsLog  # noqa: E402

WEBSHOP = settings.ENVIRONMENTS["webshop"]
CONTROL = {"self_imitation_tokens": 120, "mining_steps": 7}
MACHINE = {"processor": "EPYC", "cores": 2, "memory_gib": 24, "accelerators": []}
WHERE = {"commit": "c7bff7cd8624", "machine": MACHINE, "warm_start": "88428f42d73c22c4"}
FACTS = {"settings": WEBSHOP.fingerprint(), "overrides": [], **WHERE, **CONTROL}


def entries(method, seed, success=0.5, curve=((0, 0.2), (20_100, 0.5)), by_type=None):
    name = {"environment": "webshop", "method": method, "seed": seed}
    costs = {"generated_tokens": 5, "mining_tokens": 0, "gradient_rows": 9, "wall_seconds": 1.5}
    row = {**name, "env_steps": 20_100, "tasks": 240, "success": success, "score": success, **costs}
    points = [
        {"step": i, "env_steps": x, "success": y, "low": y, "high": y, "episodes": 9, "by_category": {}}
        for i, (x, y) in enumerate(curve)
    ]
    return row, {**name, "points": points, "facts": FACTS, "success_by_type": by_type or {}, "active_skills": []}


def comparison(tmp_path, final=True, trial="base", extra=()):
    return run.Comparison("webshop", final, trial, tuple(extra), tmp_path / "work", home=tmp_path / "home")


def phase_0(folder, env_steps=1500, step=4, over=True):
    """A run folder as phase 0 leaves it."""
    machine = PhaseMachine(PhaseSettings(warm_up_tasks=1 if over else 99))
    for number in range(1, step + 1):
        machine.end_step(number, ["a task"] if number == step else [], Census())
    state = {"env_steps": env_steps, "skills": {"phases": machine.to_dict(), "mined": 0}}
    save_state(RunFolder(folder).checkpoint(step), state)
    (folder / f"global_step_{step}" / "actor").mkdir()
    (folder / f"global_step_{step}" / "actor" / "weights").write_text("w")
    RunFolder(folder).tracker.write_text(str(step))
    log = MetricsLog(RunFolder(folder).metrics)
    log.write("validation", 0, {"siri/val/success": 0.2} | dict.fromkeys(("siri/val/success_low",), 0.1))
    return machine
