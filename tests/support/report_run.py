# SPDX-License-Identifier: Apache-2.0
"""Run folders for the report: story_run's simulated run, with everything else a real run leaves, written by the code
that writes it there."""

import json
import random

from omegaconf import OmegaConf

from siri_verl.runs.config import save_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import MetricsLog, read_metrics
from siri_verl.runs.record import RECORD_VERSION
from siri_verl.trajectory.file import append_trajectories
from siri_verl.trajectory.turn import Trajectory, Turn
from support.story_run import TYPES, simulate

NASTY = "</script><script>alert(1)</script> <b>&amp;</b> ${x} {{ 7 * 7 }} \u2028 \\u003c"
"""What a model might write."""


def settings(method, seed, folder):
    """Settings as they stand in config.yaml, cut to what matters here."""
    return OmegaConf.create(
        {
            "algorithm": {"adv_estimator": "grpo" if method == "grpo" else "gigpo", "gigpo": {"gamma": 0.95}},
            "actor_rollout_ref": {"actor": {"optim": {"lr": 3e-4}, "data_loader_seed": seed}},
            "data": {"train_files": f"{folder}/train.parquet", "seed": seed},
            "trainer": {"experiment_name": folder.name, "default_local_dir": str(folder)},
            "siri": {
                "seed": seed,
                "environment": {"name": "webshop", "kwargs": {"store": f"/machine{seed}/data/store"}},
                "phases": {"fixed": None if method.startswith("siri") else "warm_up", "skip": []},
                "mining": {"random_skills": method == "siri_random_skills"},
                "internalization": {"source": "skill", "gate": True, "advantage_weights": True},
                "control": {"skills_in_prompt": method == "siri_skills_in_prompt"},
            },
        }
    )


def make_run(folder, *, method="siri", seed=1, steps=30, trajectories=True):
    """A finished run's folder; returns it."""
    folder.mkdir(parents=True)
    simulate(folder, steps=steps, seed=seed, skills=method.startswith("siri"))
    save_config(settings(method, seed, folder), folder)
    start = {
        "started": "2026-01-02T03:04:05Z",
        "command": f"python -m verl.trainer.main_ppo +siri=base siri.seed={seed}",
        "seed": seed,
        "commit": "0123456789ab",
        "machine": {"system": "Linux", "processor": "a CPU", "cores": 2, "memory_gib": 8.0, "accelerators": []},
        "versions": {"python": "3.11.0", "verl": "0.9.1", "vllm": None},
    }
    RunFolder(folder).record.write_text(json.dumps({"version": RECORD_VERSION, "starts": [start]}))
    add_times(folder)
    if trajectories:
        append_trajectories(folder / "trajectories.jsonl", make_trajectories(seed, range(0, steps + 1, 10)))
    if method.startswith("siri"):
        write_prompts(folder, range(10, steps + 1))
    return folder


def add_times(folder):
    """The stages verl times, on every training step."""
    records, rng = read_metrics(folder / "metrics.jsonl"), random.Random(0)
    (folder / "metrics.jsonl").unlink()
    log = MetricsLog(folder / "metrics.jsonl")
    for record in records:
        metrics = record["metrics"]
        if record["kind"] == "train":
            parts = {"gen": 4 + rng.random(), "update_actor": 2.0, "old_log_prob": 1.0, "agent_loop/slowest/x": 3.0}
            metrics |= {f"timing_s/{name}": value for name, value in parts.items()}
            metrics["timing_s/step"] = 8.5
            if record["step"] % 5 == 0:
                metrics["timing_s/testing"] = 4.0
        log.write(record["kind"], record["step"], metrics)


def make_trajectories(seed, steps, nasty=""):
    rng = random.Random(seed)
    for step in steps:
        for category in TYPES[:3]:
            for source, arm in (("validation", "plain"), ("training", "plain"), ("training", "skill")):
                won = rng.random() < 0.5
                turn = Turn(
                    f"page of the {category} {nasty}", f"<think> x </think> <action> buy{nasty} </action>", "buy"
                )
                skill = {"skill_id": "s0001", "skill_text": f"When it is the {category}: buy"} if arm == "skill" else {}
                yield Trajectory(
                    source=source,
                    step=step,
                    task_id=f"{category}-{source}",
                    task=f"find a thing for the {category} {nasty}",
                    turns=(turn, Turn("an item", "no action", "", 10.0 * won, valid=False, admissible=False)),
                    success=won,
                    score=0.5,
                    category=category,
                    arm=arm,
                    status="terminated",
                    **skill,
                )


def write_prompts(folder, steps, nasty=""):
    """As siri_verl/training/prompt_log.py writes them."""
    (folder / "prompts").mkdir(exist_ok=True)
    for step in steps:
        plain = f"task: buy a thing {nasty}\npage: search"
        parts = [
            f"step {step}, task bath-{step}, skill s0001",
            f"=== plain arm: prompt\n{plain}",
            "=== plain arm: reply\n<action> search[thing] </action>",
            f"=== skill arm: prompt\nskill: When it is the bath: read {nasty}\n{plain}",
            f"=== skill arm: reply\n<action> open[features] {nasty} </action>",
            f"=== skill arm: the plain prompt its action is internalized on\n{plain}",
        ]
        (folder / "prompts" / f"step_{step:05d}.txt").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
