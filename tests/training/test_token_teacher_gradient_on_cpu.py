# SPDX-License-Identifier: Apache-2.0
"""The token teacher in the trainer: the gradient of verl's real engine against the formulas written out by hand."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.driver import Step, prepare, run_config
from support.hand_written import distance
from support.hand_written_teacher import own_gradient, policy_gradient, replies, same_rows

from siri_verl.runs.replay import PastRow

JOB = Path(__file__).parents[1] / "support" / "internalization_job.py"
LIMITS = (300, 100_000)
"""Tokens of a micro-batch at most: eight rows or so, all."""
ONE, TWO = "siri.update.mini_batches=1", "siri.update.mini_batches=2"


def term(**values):
    return tuple(f"siri.internalization.{name}={value}" for name, value in values.items())


SHIFT = term(token_weight="shift", normalise="weights")
OWN = term(rows="plain_under_skill", row_weight="one")
# name -> (workers, overrides of the run)
VARIANTS = {
    "shift": (1, (TWO, *SHIFT)),
    "shift, two workers": (2, (TWO, *SHIFT)),
    "shift, whole replies": (2, (ONE, *SHIFT, *term(span="response", action_factor=2.0))),
    "ratio cap": (1, (TWO, *term(ratio_cap=1.02, normalise="rows"))),
    "gap": (1, (TWO, *term(row_weight="gap", token_weight="gate", divergence="forward"))),
    "sdar": (2, (TWO, *OWN, *term(divergence="forward", token_weight="gate", span="response", normalise="all_tokens"))),
    "skill_sd": (1, (TWO, *OWN, *term(divergence="k3", ratio_cap=22026.0, ratio_detached=False))),
    "both": (2, (TWO, *term(rows="both", divergence="k3", normalise="rows"))),
    "opid": (1, (TWO, *OWN, *term(role="advantage_term", divergence="reverse", span="response"))),
    "rlsd": (2, (TWO, *OWN, *term(role="advantage_factor", divergence="reverse", span="response"))),
    "replaces the policy": (1, (ONE, *term(replaces_policy=True))),
    "own steps": (1, (ONE, *SHIFT, *term(steps=2))),
    "own steps, two workers": (2, (ONE, *SHIFT, *term(steps=2))),
    "replay": (1, (ONE, *SHIFT, *term(steps=2, replay=3, ratio_cap=1.05))),
    "replay in the policy's steps": (1, (ONE, *term(replay=3))),
}
ADVANTAGES = ("opid", "rlsd", "replaces the policy")


def past(seed: int) -> list[PastRow]:
    """Rows of an earlier iteration."""
    rng = torch.Generator().manual_seed(seed)

    def tokens(n):
        return torch.randint(3, 259, (n,), generator=rng).tolist()

    def scores(n):
        return (-4 - 2 * torch.rand(n, generator=rng)).tolist()

    lengths = [(12, 9), (20, 15), (9, 12), (15, 10)]
    return [
        PastRow(0, tokens(p), tokens(r), (2, r - 2), (2, r - 2), 0.5 + 0.1 * i, scores(r), scores(r))
        for i, (p, r) in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("teacher")
    prepare(made)
    return made


@pytest.fixture(scope="module")
def steps(transfer_queue, folder):
    """Name -> the trainer's step."""
    made = {}
    for name, (dp, given) in VARIANTS.items():
        made[name] = Step(transfer_queue, folder, *given, dp_size=dp, past=past(0) if "replay" in name else ())
    made["base"] = Step(transfer_queue, folder, ONE)
    return made


@pytest.fixture(scope="module")
def updates(steps, folder):
    """(name, number of the update, limit) -> gradients and weights of each optimizer step by verl's training worker."""
    found = {}
    for workers in (1, 2):
        jobs = {}
        for name, step in steps.items():
            for number, (_, sent, _) in enumerate(step.workers.updates):
                if len(sent) == workers:
                    jobs[name, number] = {"chunks": [pickle.dumps(data) for data in sent], "limits": LIMITS}
        (folder / f"jobs{workers}").write_bytes(pickle.dumps({"jobs": jobs, "config": run_config(folder)}))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={workers}"]
        done = subprocess.run(
            [*command, str(JOB), *(str(folder / f"{name}{workers}") for name in ("jobs", "out"))],
            env=os.environ | {"OMP_NUM_THREADS": "1", "SIRI_PLATFORM": "cpu"},
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        ranks = torch.load(folder / f"out{workers}.0", weights_only=False)["found"]
        found.update({(*name, limit): values["steps"] for (name, limit), values in ranks.items()})
    return found


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("limit", LIMITS)
def test_the_gradient_of_the_policys_update(updates, steps, folder, name, limit):
    step, base = steps[name], same_rows(steps[name], steps["base"])
    taken = updates[name, 0, limit]
    assert len(taken) == step.steps
    for m in range(step.steps):
        expected = policy_gradient(folder, step, base, m, taken[m]["weights"])
        assert distance(taken[m]["gradient"], expected) < 1e-5, m


@pytest.mark.parametrize(
    "name", [name for name in VARIANTS if name.startswith(("own", "replay")) and "policy" not in name]
)
@pytest.mark.parametrize("limit", LIMITS)
def test_the_gradient_of_steps_of_their_own(updates, steps, folder, name, limit):
    step, base = steps[name], same_rows(steps[name], steps["base"])
    assert len(step.workers.updates) == 2 and step.workers.updates[1][2]["internalization_alone"]
    taken = updates[name, 1, limit]
    assert len(taken) == 2
    for m in range(2):
        expected = own_gradient(folder, step, base, m, taken[m]["weights"])
        assert distance(taken[m]["gradient"], expected) < 1e-5, m


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ADVANTAGES])
def test_every_kind_of_row_is_there(steps, name):
    step = steps[name]
    rows = replies(step, same_rows(step, steps["base"]))
    assert len(rows) > 3 and sum(row.weight > 0 for row in rows) > 1
    added = {
        *(step.now.extra.added if step.now.extra else ()),
        *(step.now.teacher.scored.added if step.now.teacher.scored else ()),
    }
    in_update = {key for keys in step.workers.keys for key in keys}
    assert bool(added & in_update) == (not name.startswith(("own", "sdar", "skill_sd")) and name != "replay")
    # the row store is told to forget all of them
    assert added <= set(step.now.teacher.with_left_out(step.batch).keys)


@pytest.mark.parametrize("name", ["own steps", "own steps, two workers", "replay", "sdar"])
def test_the_policys_update_is_as_without_internalization_rows(steps, name):
    step = steps[name]
    padding = {key for key, tag in zip(step.batch.keys, step.batch.tags, strict=True) if tag.get("is_padding")}
    sent = [key for rank in step.workers.keys for key in rank]
    assert {key for key in sent if key not in padding} == set(step.rows)
    assert sent == [key for key in step.balanced if key in set(sent)]


def test_rows_are_kept_for_replay(steps):
    step = steps["replay"]
    assert len(step.now.extra.selection.past) == 3, "of the four that were there"
    kept = step.now.siri.replay.rows
    assert [row for row in kept if row.step == 0] == past(0) and len(kept) > 5
    for row in kept[4:]:
        assert row.step == 1 and row.weight > 0 and len(row.old) == len(row.teacher) == len(row.response)


def test_what_the_step_reports(steps):
    gain = "siri/internalization/teacher_gain_mean"
    assert gain not in steps["base"].metrics
    for name in ("shift", "sdar", "both", "opid"):
        assert -5 < steps[name].metrics[gain] < 5 and steps[name].metrics[gain] != 0
    assert 0 < steps["shift"].metrics["siri/internalization/token_weight_mean"] < 1
    assert steps["opid"].metrics["siri/internalization/rows_scored"] > 3
    assert steps["opid"].metrics["siri/internalization/advantage_change_abs"] > 0
    assert steps["replay"].metrics["siri/internalization/rows_replayed"] == 3
    assert steps["own steps"].metrics["siri/updates"] == 3
