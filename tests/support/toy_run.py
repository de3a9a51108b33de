# SPDX-License-Identifier: Apache-2.0
"""A run of three steps of the small model that plays the toy game: warm-up, mining, internalization. The settings that
the tests of several machines and engines share, and what has to hold of such a run whatever it ran on."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.envs.panels import make_panel, write_dataset
from siri_verl.runs.metrics import read_metrics
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import load_bank, save_bank
from siri_verl.skills.skill import Provenance
from support.configs import TOY, train_toy
from support.toy_player import BAD, CONDITION, GOOD, HISTORY, TRAIN, make_player

STEPS, SESSIONS = 3, 8


def write_inputs(folder: Path, active_skill: bool = True, **model) -> Path:
    """The model, panels of the four tasks it plays and of four others, and a bank: a skill that misleads for one type
    of task, a good active one for the other.

    Args:
        folder: where to.
        active_skill: whether the bank holds the active skill.
        model: settings of the model (toy_player.make_player).
    """
    loss = make_player(folder / "model", TRAIN, **model)
    assert loss < 0.05, f"the player has not learned to play (loss {loss})"
    write_dataset(replace(make_panel("toy", {}, "train"), task_ids=TRAIN), folder / "train.parquet")
    validation = make_panel("toy", {}, "validation")
    others = tuple(task for task in validation.task_ids if task not in TRAIN)[:4]
    write_dataset(replace(validation, task_ids=others), folder / "validation.parquet")
    bank = SkillBank()
    bank.add(CONDITION, BAD, "coin", Provenance("", "", 0, "hand"))
    if active_skill:
        good = bank.add(CONDITION, GOOD, "lamp", Provenance("", "", 0, "hand")).skill.skill_id
        for k in range(12):
            bank.record(TreatmentEffect("g", good, 0.75, 1.0, 0.25, 4, 4, ""), f"t{k}", 0)
        assert bank[good].status == "active"
    save_bank(bank, folder / "bank.jsonl")
    return folder


def write_active_bank(path: Path) -> None:
    """A bank with a good active skill for every type of task."""
    bank = SkillBank()
    for kind in ("coin", "lamp", "other"):
        skill_id = bank.add(CONDITION, GOOD, kind, Provenance("", "", 0, "hand")).skill.skill_id
        for k in range(12):
            bank.record(TreatmentEffect("g", skill_id, 0.75, 1.0, 0.25, 4, 4, ""), f"t{k}", 0)
    save_bank(bank, path)


def write_active_inputs(folder: Path) -> Path:
    """The model and panels, and a bank with a good active skill for every type."""
    write_inputs(folder, active_skill=False)
    write_active_bank(folder / "bank.jsonl")
    return folder


def player_settings(inputs: Path) -> tuple[str, ...]:
    """Settings of a run of the player: one step of warm-up, one of mining, then internalization."""
    return (
        *("data.max_prompt_length=128", "data.max_response_length=32", f"actor_rollout_ref.rollout.n={SESSIONS}"),
        *("actor_rollout_ref.actor.optim.lr=1e-4", f"siri.prompt.history_length={HISTORY}"),
        *("siri.update.mini_batches=2", f"siri.initial_bank={inputs}/bank.jsonl", "siri.task_type.kind=regex"),
        *("+siri.task_type.table.coin=coin", "+siri.task_type.table.lamp=lamp"),
        *("siri.phases.warm_up_max_steps=1", "siri.phases.mining_max_steps=1", "siri.phases.allow_empty=true"),
        *("siri.mining.template=compact", "siri.mining.every=100", "siri.mining.max_tokens=24"),
        "siri.utility.n_eval=2",
    )


def train(inputs: Path, run: Path, *overrides: str, groups: str = TOY, **environment: str) -> str:
    """Run verl's entry point.

    Args:
        inputs: what `write_inputs` wrote.
        run: folder of the run.
        overrides: settings.
        groups: configuration groups.
        environment: more environment variables.

    Returns:
        The log.
    """
    settings = (
        *player_settings(inputs),
        *(f"trainer.total_training_steps={STEPS}", f"trainer.test_freq={STEPS}", f"trainer.save_freq={STEPS}"),
        "siri.internalization.warmup_updates=1",
    )
    done = train_toy(inputs, run, *settings, *overrides, groups=groups, timeout=1500, **environment)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def check_run(run: Path, *, probs_differ: float = 1e-4) -> dict[int, dict[str, float]]:
    """Both arms, evidence, mined skills, internalized turns and finite updates.

    Args:
        run: its folder.
        probs_differ: most that the rollout's and the actor's probability of a sampled token may differ.

    Returns:
        Metrics of each training step.
    """
    metrics = {r["step"]: r["metrics"] for r in read_metrics(run / "metrics.jsonl") if r["kind"] == "train"}
    assert [metrics[step]["siri/phase"] for step in range(1, STEPS + 1)] == [0, 1, 2]
    for step, found in metrics.items():
        assert np.isfinite(found["actor/grad_norm"]) and found["actor/grad_norm"] > 0
        assert found["siri/rows"] == 4 * SESSIONS * 3 and found["siri/excluded_share"] == 0
        # the rollout played with the weights of the last update
        assert found["training/rollout_probs_diff_max"] < probs_differ, f"step {step}"
        assert 0.1 < found["siri/success_plain_arm"] < 0.95, "without a skill the player finds every other room"
    assert "siri/success_skill_arm" not in metrics[1]
    bank = load_bank(run / "skills.jsonl")
    for step in (2, 3):
        evidence = [e for skill in bank.skills.values() for e in skill.evidence if e.step == step]
        assert len(evidence) == metrics[step]["siri/paired_groups"] > 0
        assert all(e.skill_n == e.plain_n == SESSIONS // 2 for e in evidence)
        assert metrics[step]["siri/skill_row_share"] == len(evidence) / 4 / 2
    good = [e.delta for s in bank.skills.values() for e in s.evidence if s.strategy == GOOD and e.step]
    assert np.mean(good) > 0
    assert metrics[2]["siri/mining/entered"] > 0
    mined = [s for s in bank.skills.values() if s.provenance.miner == "policy"]
    assert len(mined) == metrics[2]["siri/mining/entered"]
    last = metrics[STEPS]
    assert last["siri/internalization/rows_weighted"] > 0 and last["actor/internalization_loss"] > 0
    assert (run / "skills.jsonl").read_text() == (run / f"global_step_{STEPS}" / "skills.jsonl").read_text()
    validation = [r["metrics"] for r in read_metrics(run / "metrics.jsonl") if r["kind"] == "validation"]
    assert [v["siri/val/episodes"] for v in validation] == [4, 4]
    return metrics
