# SPDX-License-Identifier: Apache-2.0
"""The gradient of verl's real engine on what the trainer sends, against the formula written out by hand.

L = - mean_t min(r A, clip(r) A) + beta mean_t k3 + lambda * ( - sum m w log pi(y | plain prompt) / sum m )

"""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.driver import Step, prepare, run_config
from support.hand_written import before_update, dealt, delta, distance, gated_turns, kept_columns, reference
from support.queue_rows import ROW_NAMES

from siri_verl.training.loss import WEIGHT_COLUMN

JOB = Path(__file__).parents[1] / "support" / "internalization_job.py"
LAMBDA = 0.7
LIMITS = (128, 300, 100_000)
"""Tokens of a micro-batch at most: three rows or so, eight, all."""

ONE, TWO = "siri.update.mini_batches=1", "siri.update.mini_batches=2"
RESPONSE = "siri.internalization.span=response"
FIXED = (
    "actor_rollout_ref.actor.use_dynamic_bsz=false",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=3",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=2",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=2",
)
# name -> (workers, overrides of the run)
VARIANTS = {
    "plain 1x1": (1, (ONE,)),
    "plain 1x2": (1, (TWO,)),
    "plain 2x1": (2, (ONE,)),
    "plain 2x2": (2, (TWO,)),
    "response": (1, (TWO, RESPONSE)),
    "no think": (1, (TWO, "siri.internalization.context=no_think")),
    "all tokens": (1, (TWO, "siri.internalization.normalise=all_tokens")),
    "all tokens of replies": (2, (TWO, "siri.internalization.normalise=all_tokens", RESPONSE)),
    "floor": (2, (TWO, "siri.internalization.log_prob_floor=-5.5")),
    "no gate": (2, ("siri.internalization.gate=false", "siri.internalization.advantage_weights=false")),
    "micro-batches of 3 rows": (2, (TWO, *FIXED)),
    "separate arms": (1, (ONE, "algorithm.gigpo.arms=separate")),
    "grpo": (1, (ONE, "algorithm.adv_estimator=grpo")),
}
NOTHING = ("siri.internalization.lambda_max=0",)
WITHOUT = ("siri.phases.fixed=mining",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("gradient")
    prepare(made)
    return made


@pytest.fixture(scope="module")
def steps(transfer_queue, folder):
    """Name -> the trainer's step."""
    made = {name: Step(transfer_queue, folder, *given, dp_size=dp) for name, (dp, given) in VARIANTS.items()}
    joint = kept_columns(made["plain 1x1"])
    made["separate arms"].joint = {
        key: joint[twin] for key, twin in zip(made["separate arms"].rows, made["plain 1x1"].rows, strict=True)
    }
    for dp in (1, 2):
        made[f"lambda 0, {dp}"] = Step(transfer_queue, folder, TWO, *NOTHING, dp_size=dp)
        made[f"no extra rows, {dp}"] = Step(transfer_queue, folder, TWO, *WITHOUT, dp_size=dp)
    return made


@pytest.fixture(scope="module")
def updates(steps, folder):
    """(name, limit) -> what verl's training worker did: gradients, weights, metrics."""
    found = {}
    for workers in (1, 2):
        jobs = {}
        for name, step in steps.items():
            if len(step.workers.sent) == workers:
                limits = LIMITS if name.startswith("plain") else LIMITS[1:]
                limits += (-3,) * name.startswith("micro")
                jobs[name] = {"chunks": [pickle.dumps(data) for data in step.workers.sent], "limits": limits}
        (folder / f"jobs{workers}").write_bytes(pickle.dumps({"jobs": jobs, "config": run_config(folder)}))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={workers}"]
        places = [str(folder / f"{name}{workers}") for name in ("jobs", "out")]
        done = subprocess.run(
            [*command, str(JOB), *places],
            env=os.environ | {"OMP_NUM_THREADS": "1", "SIRI_PLATFORM": "cpu"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        ranks = [torch.load(folder / f"out{workers}.{rank}", weights_only=False)["found"] for rank in range(workers)]
        for key, first in ranks[0].items():
            for other in ranks[1:]:  # FSDP leaves every rank with the same whole gradient
                for a, b in zip(first["steps"], other[key]["steps"], strict=True):
                    assert all(torch.equal(a["gradient"][n], b["gradient"][n]) for n in a["gradient"])
            found[key] = first
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_the_gradient_is_the_formulas(updates, steps, folder, name):
    step = steps[name]
    runs = {limit: updates[name, limit]["steps"] for n, limit in updates if n == name}
    assert len(runs) >= 2
    for m in range(step.steps):
        expected = None
        for limit, taken in runs.items():
            assert len(taken) == step.steps
            if expected is None:
                expected = reference(folder, step, m, taken[m]["weights"])
            assert distance(taken[m]["gradient"], expected) < 1e-5, (m, limit)


@pytest.mark.parametrize("name", ["plain 1x1", "plain 2x2"])
def test_the_reference_tells_the_term_from_its_absence(updates, steps, folder, name):
    # the bound above is far below what the term amounts to
    step, taken = steps[name], updates[name, LIMITS[0]]["steps"]
    extra, step.now.extra = step.now.extra, None
    without = reference(folder, step, 0, taken[0]["weights"])
    step.now.extra = extra
    assert distance(taken[0]["gradient"], without) > 1e-2


def test_one_worker_and_two_take_the_same_step(updates, steps):
    # one optimizer step holds all rows, however they are cut
    one, two = (updates[f"plain {dp}x1", 100_000]["steps"][0]["gradient"] for dp in (1, 2))
    assert distance(two, one) < 1e-5


@pytest.mark.parametrize("dp", [1, 2])
@pytest.mark.parametrize("limit", LIMITS[1:])
def test_with_lambda_0_extra_rows_change_nothing(updates, steps, dp, limit):
    with_rows, without = steps[f"lambda 0, {dp}"], steps[f"no extra rows, {dp}"]
    assert with_rows.now.extra.added and without.now.extra is None
    assert with_rows.steps == without.steps == 2
    names = [[{ROW_NAMES[key] for key in keys} for keys in step.policy_slices()] for step in (with_rows, without)]
    assert names[0] == names[1], "the same policy rows in every optimizer step"
    a, b = (updates[f"{kind}, {dp}", limit]["steps"] for kind in ("lambda 0", "no extra rows"))
    assert len(a) == len(b) == 2
    for m in range(2):
        assert distance(a[m]["gradient"], b[m]["gradient"]) < 1e-6, m


@pytest.mark.parametrize("name", VARIANTS)
def test_extra_rows_are_dealt_evenly_and_every_update_that_holds_them_is_finite(updates, steps, name):
    step = steps[name]
    extra = step.now.extra
    cells = []
    for rank in step.workers.keys:
        size = len(rank) // step.steps
        for m in range(step.steps):
            cells.append(sum(key in set(extra.added) for key in rank[m * size : (m + 1) * size]))
    assert len(set(cells)) == 1 and cells[0] > 0, "as many rows in every optimizer step of every rank"
    # fillers only even out
    ranks = len(step.workers.keys)
    unit = step.now.layout.micro_batch
    assert len(extra.filler) < (ranks * step.steps + ranks) * unit and cells[0] % unit == 0
    per_step = np.bincount(extra.selection.step, minlength=step.steps)
    assert np.ptp(per_step) <= 1
    for (n, _), run in updates.items():
        if n == name:
            norms = run["metrics"]["grad_norm"]
            assert len(norms) == step.steps
            assert all(np.isfinite(norms))
            assert min(norms) > 0
            assert all(np.isfinite(value) for value in run["metrics"]["loss"])


def test_rows_of_a_rank_and_step_are_whole_micro_batches(steps):
    step = steps["micro-batches of 3 rows"]
    assert step.now.layout.micro_batch == 6, "of three in the update, of two in the log-prob passes"
    assert {len(keys) // step.steps % 6 for keys in step.workers.keys} == {0}
    assert steps["plain 2x2"].now.layout.micro_batch == 1


def test_policy_rows_keep_their_places(steps):
    for step in steps.values():
        sent = [key for rank in step.workers.keys for key in rank]
        assert [key for key in sent if key in set(step.balanced)] == step.balanced


def test_columns_of_extra_rows_say_nothing_to_verls_terms(steps):
    step = steps["plain 2x2"]
    extra = step.now.extra
    by_key = dict(zip(extra.keys, extra.selection.rows, strict=True))
    seen = 0
    for keys, data in zip(step.workers.keys, step.workers.sent, strict=True):
        columns = ("response_mask", "loss_mask", "advantages", WEIGHT_COLUMN, "prompts", "responses", "input_ids")
        for key, mask, loss, advantage, weight, prompt, reply, ids in zip(
            keys, *(data[name].unbind() for name in columns), strict=True
        ):
            assert len(mask) == len(loss) == len(advantage) == len(weight) == len(reply)
            assert ids.tolist() == prompt.tolist() + reply.tolist()
            if key in step.rows:
                assert mask.all() and not weight.any()
                continue
            assert not mask.any()
            assert not loss.any()
            assert not advantage.any()
            if key not in by_key:
                assert not weight.any(), "fillers and padding weigh nothing"
                continue
            seen += 1
            row = step.rows[step.now.table.keys[by_key[key]]]
            start, end = row["fields"]["span_start"], row["fields"]["span_end"]
            assert prompt.tolist() == row["plain"] and reply.tolist() == row["reply"][:end]
            assert (weight > 0).nonzero().flatten().tolist() == list(range(start, end))
    assert seen == sum(key is not None for key in extra.keys) > 3


def test_weights_of_an_optimizer_step_sum_to_their_mean(steps):
    for name in ("plain 1x1", "plain 1x2", "plain 2x2"):
        step = steps[name]
        turns = dict(gated_turns(step, kept_columns(step)))
        where = dealt(step)
        assert where.keys() == turns.keys()
        for m, keys in enumerate(step.slices()):
            found = 0.0
            for rank, data in zip(step.workers.keys, step.workers.sent, strict=True):
                for key, weight in zip(rank, data[WEIGHT_COLUMN].unbind(), strict=True):
                    found += float(weight.sum()) if key in keys else 0.0
            length = {k: step.rows[k]["fields"]["span_end"] - step.rows[k]["fields"]["span_start"] for k in turns}
            members = [k for k in turns if where[k] == m]
            assert found == pytest.approx(
                sum(turns[k] * length[k] for k in members) / sum(length[k] for k in members), rel=1e-5
            )


def test_require_active_leaves_candidates_out(transfer_queue, folder):
    step = Step(transfer_queue, folder, "siri.internalization.require_active=true")
    assert not step.now.extra.added and not len(step.now.extra.selection)
    assert step.metrics["siri/internalization/rows_added"] == 0
    assert [key for rank in step.workers.keys for key in rank] == step.balanced


def test_what_the_step_reports(steps):
    for name, step in steps.items():
        if step.now.extra is None:
            assert step.metrics["siri/internalization/rows_added"] == 0
            continue
        metrics = {k.rpartition("/")[2]: v for k, v in step.metrics.items() if k.startswith("siri/internalization/")}
        turns = gated_turns(step, kept_columns(step))
        assert metrics["rows_open"] == len(turns) == len(step.now.extra.selection)
        assert metrics["lambda"] == (0 if name.startswith("lambda 0") else LAMBDA)
        assert metrics["rows_added"] == len(step.now.extra.added)
        # the share under the floor and what the plain policy thinks are always there
        assert -20 < metrics["plain_log_prob_mean"] < 0 and 0 <= metrics["below_floor_share"] <= 1, name
    step = steps["floor"]
    reported = {k: step.metrics[f"siri/internalization/{k}"] for k in ("below_floor_share", "tokens_gated")}
    spans = [step.rows[key]["fields"] for key, _ in gated_turns(step, kept_columns(step))]
    every = sum(fields["span_end"] - fields["span_start"] for fields in spans)
    assert 0 < reported["below_floor_share"] < 1
    assert reported["tokens_gated"] == pytest.approx(every * (1 - reported["below_floor_share"]))


@pytest.mark.parametrize("name", ["plain 2x2", "response", "no think", "floor"])
def test_deciding_tokens_are_those_that_the_skill_prompt_doubles(steps, name):
    step = steps[name]
    columns, s = kept_columns(step), step.settings.internalization
    plain, skill = [], []
    for key, weight in gated_turns(step, columns):
        if weight > 0 or s.log_prob_floor is not None:
            fields = step.rows[key]["fields"]
            first, end = (0, len(step.rows[key]["reply"])) if s.span == "response" else ends(fields)
            on_plain, on_skill = before_update(step, key)[first - end :], columns[key][1][first:end]
            kept = on_plain >= (-np.inf if s.log_prob_floor is None else s.log_prob_floor)
            plain.append(on_plain[kept])
            skill.append(on_skill[kept])
    plain, skill = torch.cat(plain), torch.cat(skill)
    deciding = skill - plain > np.log(2)
    got = {k: step.metrics[f"siri/internalization/deciding_{k}"] for k in ("tokens", "share")}
    assert got["tokens"] == deciding.sum() and got["share"] == pytest.approx(float(deciding.double().mean()))
    if name == "floor":
        # the floor keeps what the plain prompt makes likely already; whether the skill prompt doubles one of these few
        # tokens depends on the random weights, which differ in last bits between processors
        assert deciding.sum() < len(plain) and plain.min() >= s.log_prob_floor
        return
    assert 0 < deciding.sum() < len(plain), "else this test would compare nothing"
    mean = step.metrics["siri/internalization/deciding_plain_log_prob_mean"]
    assert mean == pytest.approx(float(plain[deciding].mean()))


def ends(fields):
    return fields["span_start"], fields["span_end"]


def test_the_gates_factors_are_counted_one_after_the_other(steps):
    metrics, rows = steps["no gate"].metrics, [row["fields"] for row in steps["no gate"].rows.values()]
    used = [f for f in rows if f["arm"] == "skill"]
    positive = [f for f in used if delta(f["task_id"]) > 0]
    assert metrics["siri/gate/used_turns"] == len(used) > len(positive) == metrics["siri/gate/positive_turns"] > 0
    tokens = sum(f["span_end"] - f["span_start"] for f in positive if f["valid"])
    assert metrics["siri/gate/action_tokens"] == tokens
