# SPDX-License-Identifier: Apache-2.0
"""All three phases in the real trainer: verl's main, Ray, FSDP2, TransferQueue, environment servers, the light server.
A small model does play the toy game, so that effects, decisions and internalized turns are real.

Steps: 1 warm-up; 2 mining (skills are mined and tested); 3 and 4 internalization.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.configs import train_toy
from support.toy_player import BAD, CONDITION, GOOD, TRAIN
from support.toy_run import SESSIONS, player_settings, write_inputs

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.runs.metrics import read_metrics
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import load_bank, save_bank
from siri_verl.skills.skill import Provenance

STEPS = 4


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The model, panels of the four tasks it plays and of four others, and a bank with one skill that misleads."""
    return write_inputs(tmp_path_factory.mktemp("inputs"), active_skill=False)


def train(inputs: Path, run: Path, *overrides: str) -> subprocess.CompletedProcess:
    settings = (
        *player_settings(inputs),
        *(f"trainer.total_training_steps={STEPS}", f"trainer.test_freq={STEPS}", "trainer.save_freq=2"),
        *("siri.utility.ema_alpha=0.5", "siri.utility.promote_above=0.05", "siri.utility.retire_after=1"),
        "siri.internalization.warmup_updates=2",
    )
    return train_toy(inputs, run, *settings, *overrides)


def finish(result: subprocess.CompletedProcess) -> str:
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-6000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    (run / "log").write_text(finish(train(inputs, run, f"trainer.rollout_data_dir={run}/dump")))
    return run


@pytest.fixture(scope="module")
def metrics(finished):
    return {r["step"]: r["metrics"] for r in read_metrics(finished / "metrics.jsonl") if r["kind"] == "train"}


def test_the_run_goes_through_three_phases_and_says_why(finished, metrics):
    assert [metrics[step]["siri/phase"] for step in range(1, STEPS + 1)] == [0, 1, 2, 2]
    log = (finished / "log").read_text()
    assert "phase warm_up -> mining: 1 steps of warm-up" in log and "phase mining -> internalization: " in log
    assert metrics[1]["siri/skill_row_share"] == metrics[1]["siri/paired_groups"] == 0


def test_the_policy_mines_skills_from_its_own_plain_successes(finished, metrics):
    assert metrics[1]["siri/success_plain_arm"] > 0
    assert metrics[2]["siri/mining/requests"] > 0 and metrics[2]["siri/mining/generated_tokens"] > 0
    mined = [s for s in load_bank(finished / "skills.jsonl").skills.values() if s.provenance.miner == "policy"]
    assert len(mined) == metrics[2]["siri/mining/entered"] > 0
    for skill in mined:
        assert skill.provenance.step == 2 and skill.provenance.task_id in TRAIN
        assert skill.provenance.trajectory.startswith(f"1/{skill.provenance.task_id}/"), "an episode of the warm-up"
    assert GOOD in {skill.strategy for skill in mined}
    assert "siri/mining/requests" not in metrics[3]


def test_paired_groups_become_evidence_and_evidence_decisions(finished, metrics):
    bank = load_bank(finished / "skills.jsonl")
    for step in (2, 3, 4):
        evidence = [e for skill in bank.skills.values() for e in skill.evidence if e.step == step]
        assert len(evidence) == metrics[step]["siri/paired_groups"] > 0
        assert np.mean([e.delta for e in evidence]) == pytest.approx(metrics[step]["siri/delta/mean"])
        assert {e.task_id for e in evidence} <= set(TRAIN)
        assert all(e.skill_n == e.plain_n == SESSIONS // 2 for e in evidence)
        # half of the sessions of a paired group, all of three turns
        assert metrics[step]["siri/skill_row_share"] == pytest.approx(len(evidence) / 4 / 2)
    effects = {s.strategy: [e.delta for e in s.evidence] for s in bank.skills.values() if s.evidence}
    assert np.mean(effects[BAD]) < 0 < np.mean(effects[GOOD])
    misleading = next(s for s in bank.skills.values() if s.strategy == BAD)
    assert misleading.status == "retired" and misleading.decisions[0].groups == 2
    promoted = [s for s in bank.skills.values() if s.status == "active"]
    assert promoted and all(s.strategy == GOOD for s in promoted)
    assert metrics[STEPS]["siri/bank/active"] == len(promoted) and metrics[STEPS]["siri/bank/retired"] >= 1
    decided = sum(len(skill.decisions) for skill in bank.skills.values())
    assert sum(metrics[step]["siri/decisions"] for step in (2, 3, 4)) == decided


def test_beneficial_turns_are_internalized(metrics):
    for step in (1, 2):
        assert metrics[step]["siri/internalization/rows_added"] == metrics[step]["siri/internalization/lambda"] == 0
    for step, weight in ((3, 0.05), (4, 0.1)):
        found = metrics[step]
        assert found["siri/internalization/lambda"] == pytest.approx(weight)
        assert found["siri/internalization/rows_added"] >= found["siri/internalization/rows_weighted"] > 0
        # no row was malformed or lost, so the gate lets through what it counts
        assert found["siri/gate/action_tokens"] == found["siri/internalization/tokens_gated"]
        assert 0 < found["siri/gate/positive_turns"] <= found["siri/gate/used_turns"]
        assert found["siri/internalization/plain_log_prob_mean"] < 0
        assert found["actor/internalization_loss"] > 0
        assert np.isfinite(found["actor/grad_norm"]) and found["actor/grad_norm"] > 0
        assert found["siri/updates"] == 2
        # verl's own counts do not see extra rows
        assert found["siri/rows"] == 4 * SESSIONS * 3
        assert found["training/rollout_probs_diff_max"] < 1e-4


def test_verls_dump_holds_the_turns_that_were_played(finished, metrics):
    for step, found in metrics.items():
        rows = [json.loads(line) for line in (finished / "dump" / f"{step}.jsonl").read_text().splitlines()]
        assert len(rows) == found["siri/rows"] and not any(row["uid"].startswith("internal") for row in rows)
    assert metrics[STEPS]["siri/internalization/rows_added"] > 0


def test_prompts_of_both_arms_lie_on_disk(finished):
    files = sorted(path.name for path in (finished / "prompts").iterdir())
    assert files == ["step_00002.txt", "step_00003.txt", "step_00004.txt"]
    text = (finished / "prompts" / "step_00003.txt").read_text()
    plain, shown, twin = (text.split(f"=== {name}")[1].split("===")[0] for name in
                          ("plain arm: prompt", "skill arm: prompt", "skill arm: the plain prompt"))  # fmt: skip
    assert "skill :" in shown and "skill :" not in plain + twin
    assert twin.split("\n", 1)[1].strip() == plain.strip()
    assert "<action>" in text.split("=== skill arm: reply")[1]


def test_validation_is_plain_and_checkpoints_hold_the_state(finished):
    validation = [r for r in read_metrics(finished / "metrics.jsonl") if r["kind"] == "validation"]
    assert [(r["step"], r["metrics"]["siri/val/episodes"]) for r in validation] == [(0, 4), (STEPS, 4)]
    for step in (2, 4):
        folder = finished / f"global_step_{step}"
        state = json.loads((folder / "siri_state.json").read_text())["skills"]
        assert state["phases"]["phase"] == "internalization" and state["phases"]["updates"] == max(0, step - 2)
        load_bank(folder / "skills.jsonl")
    assert (finished / "skills.jsonl").read_text() == (finished / "global_step_4" / "skills.jsonl").read_text()


@pytest.mark.slow
def test_a_resumed_run_decides_as_one_that_was_not_stopped(finished, inputs, tmp_path):
    finish(train(inputs, tmp_path, "trainer.total_training_steps=2"))
    finish(train(inputs, tmp_path))
    for name in ("skills.jsonl", "siri_state.json"):
        ours, theirs = ((run / "global_step_4" / name).read_text() for run in (tmp_path, finished))
        assert ours == theirs
    ours, theirs = (
        {r["step"]: r["metrics"] for r in read_metrics(run / "metrics.jsonl") if r["kind"] == "train"}
        for run in (tmp_path, finished)
    )
    for step in (3, 4):
        same = [k for k in theirs[step] if k.startswith("siri/")]
        assert {k: ours[step][k] for k in same} == {k: theirs[step][k] for k in same}


@pytest.fixture(scope="module")
def good_bank(tmp_path_factory):
    """A good active skill for every type, as an earlier run may leave it."""
    bank = SkillBank()
    for kind in ("coin", "lamp", "other"):
        skill_id = bank.add(CONDITION, GOOD, kind, Provenance("", "", 0, "hand")).skill.skill_id
        for k in range(12):
            bank.record(TreatmentEffect("g", skill_id, 0.75, 1.0, 0.25, 4, 4, ""), f"t{k}", 0)
        assert bank[skill_id].status == "active"
    path = tmp_path_factory.mktemp("bank") / "bank.jsonl"
    save_bank(bank, path)
    return path


@pytest.mark.slow
def test_two_workers_hold_the_extra_rows_between_them(inputs, good_bank, tmp_path):
    finish(train(inputs, tmp_path, "trainer.n_gpus_per_node=2", "siri.phases.fixed=internalization",
                 f"siri.initial_bank={good_bank}", "trainer.total_training_steps=2"))  # fmt: skip
    train_steps = [r["metrics"] for r in read_metrics(tmp_path / "metrics.jsonl") if r["kind"] == "train"]
    assert len(train_steps) == 2
    for found in train_steps:
        assert np.isfinite(found["actor/grad_norm"]) and found["actor/grad_norm"] > 0
        assert found["siri/internalization/rows_added"] > 0
        assert found["siri/internalization/rows_added"] % 4 == 0, "two workers, two optimizer steps"


@pytest.mark.slow
def test_skills_kept_in_the_prompt_are_shown_in_validation(inputs, good_bank, tmp_path):
    overrides = (f"siri.initial_bank={good_bank}", "trainer.total_training_steps=1", "trainer.test_freq=1")
    finish(train(inputs, tmp_path / "run", *overrides, "siri.control.skills_in_prompt=true",
                 f"trainer.validation_data_dir={tmp_path}/generations"))  # fmt: skip
    written = (tmp_path / "generations" / "0.jsonl").read_text()
    assert GOOD in written
