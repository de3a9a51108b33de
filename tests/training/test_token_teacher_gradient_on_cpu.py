# SPDX-License-Identifier: Apache-2.0
"""The token teacher in the trainer: the gradient of verl's real engine against the formulas written out by hand."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.driver import Step, prepare, run_config
from support.hand_written import distance
from support.hand_written_teacher import Target, own_gradient, policy_gradient, replies, same_rows
from support.queue_rows import TEMPERATURE
from transformers import AutoConfig

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.light.engine import LightEngine
from siri_verl.light.model import LightModel, load_model
from siri_verl.light.sampling import SamplingParams
from siri_verl.runs.replay import PastRow, encode
from siri_verl.training.soft_targets import SCORED_IDS, SCORED_LOG_PROBS
from siri_verl.training.teacher_scores import TopTokens

pytestmark = pytest.mark.slow  # real engines, one and two workers: six minutes on two cores

JOB = Path(__file__).parents[1] / "support" / "internalization_job.py"
LIMITS = (300, 100_000)
"""Tokens of a micro-batch at most: eight rows or so, all."""
SCORING_LIMITS = (300, -1)
"""The same of a scoring pass, and one row at a time."""
ONE, TWO = "siri.update.mini_batches=1", "siri.update.mini_batches=2"


def term(**values):
    return tuple(f"siri.internalization.{name}={value}" for name, value in values.items())


def top(number, **values):
    return term(target="top_k", top_k=number, **{"divergence": "forward", **values})


FIXED = (
    "actor_rollout_ref.actor.use_dynamic_bsz=false",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=3",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=2",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=2",
)
DOUBLE = term(span="response", action_factor=2.0, normalise="all_tokens")
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
    "top 8": (2, (TWO, *top(8), *SHIFT)),
    "top 8, lambda 0": (1, (ONE, *top(8), *term(lambda_max=0))),
    "top 8 of the student": (1, (TWO, *top(8, top_k_of="student", divergence="reverse"), *term(context="no_think"))),
    "ucob": (2, (TWO, *FIXED, *term(rows="both", row_weight="gap", token_weight="gate"), *top(6, tail=False), *DOUBLE)),
    "full": (1, (ONE, *OWN, *term(target="full", divergence="jsd", normalise="rows", ratio_cap=2.0))),
    "replay, top 8": (1, (ONE, *SHIFT, *top(8, divergence="jsd"), *term(steps=2, replay=3, ratio_cap=1.05))),
}
SOFT = [name for name in VARIANTS if "top 8" in name or name in ("ucob", "full")]
ADVANTAGES = ("opid", "rlsd", "replaces the policy")


def past(seed: int, soft: bool = False) -> list[PastRow]:
    """Rows of an earlier iteration, with soft targets or without."""
    rng = torch.Generator().manual_seed(seed)

    def tokens(n):
        return torch.randint(3, 259, (n,), generator=rng).tolist()

    def scores(n):
        return (-4 - 2 * torch.rand(n, generator=rng)).tolist()

    def row(i, prompt, response):
        length, weight = response - 4, 0.5 + 0.1 * i
        edges = (2, response - 2)
        made = PastRow(0, tokens(prompt), tokens(response), edges, edges, weight, scores(response), scores(response))
        top = torch.randn(length, 259, generator=rng).log_softmax(-1).topk(8)
        targets = {"top_ids": encode(top.indices.int().numpy()), "top_log_probs": encode(top.values.numpy())}
        return replace(made, **targets) if soft else made

    return [row(i, *lengths) for i, lengths in enumerate([(12, 9), (20, 15), (9, 12), (15, 10)])]


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
        rows = past(0, name in SOFT) if "replay" in name else ()
        made[name] = Step(transfer_queue, folder, *given, dp_size=dp, past=rows)
    made["base"] = Step(transfer_queue, folder, ONE)
    return made


@pytest.fixture(scope="module")
def done(steps, folder):
    """(name, number of the update or of the scoring pass, limit) -> what verl's training worker did."""
    found = {}
    for workers in (1, 2):
        jobs = {}
        for name, step in steps.items():
            for number, (_, sent, _) in enumerate(step.workers.updates):
                if len(sent) == workers:
                    jobs[name, number] = {"chunks": [pickle.dumps(data) for data in sent], "limits": LIMITS}
            for number, (_, sent, _) in enumerate(step.workers.scorings):
                if len(sent) == workers:
                    chunks = [pickle.dumps(data) for data in sent]
                    jobs[name, f"scoring {number}"] = {"chunks": chunks, "limits": SCORING_LIMITS}
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
        ranks = [torch.load(folder / f"out{workers}.{r}", weights_only=False)["found"] for r in range(workers)]
        found.update({(*name, limit): [r[name, limit] for r in ranks] for name, limit in ranks[0]})
    return found


@pytest.fixture(scope="module")
def updates(done):
    """(name, number of the update, limit) -> gradients and weights of each optimizer step."""
    return {key: ranks[0]["steps"] for key, ranks in done.items() if "steps" in ranks[0]}


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
    aside = name.startswith(("own", "sdar", "skill_sd", "full")) or name in ("replay", "replay, top 8")
    assert bool(added & in_update) != aside
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


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("limit", SCORING_LIMITS)
def test_scoring_passes_of_the_engine_find_the_columns_of_plain_torch(done, steps, name, limit):
    step = steps[name]
    s, student = step.settings.internalization, step.settings.internalization.top_k_of == "student"
    assert len(step.workers.scorings) == 1 + student
    for number, (keys, sent, _) in enumerate(step.workers.scorings):
        found = done[name, f"scoring {number}", limit]
        assert len(found) == len(keys)
        for rank, rank_keys, data in zip(found, keys, sent, strict=True):
            for i, key in enumerate(rank_keys):
                scores = step.workers.distributions[key]
                got = rank["columns"][SCORED_LOG_PROBS][i].view(len(scores), -1)
                expected = scores.topk(s.top_k if s.target == "top_k" else 1)
                if s.target == "full":
                    assert SCORED_IDS not in rank["columns"] and torch.allclose(got.double(), scores, atol=1e-5)
                    continue
                ids = rank["columns"][SCORED_IDS][i].view(len(scores), -1).long()
                assert ids.shape == got.shape == expected.indices.shape
                assert torch.allclose(got.double(), scores.gather(-1, ids), atol=1e-5)
                if student and number == 1:
                    assert torch.equal(ids.flatten(), data["internalization_given_ids"][i].long())
                else:
                    assert torch.allclose(got.double(), expected.values, atol=1e-5), "the most likely ones"


def test_the_light_server_scores_a_reply_as_the_actor_does(done, steps, folder):
    keys, sent, _ = steps["replay, top 8"].workers.scorings[0]
    columns = done["replay, top 8", "scoring 0", 300][0]["columns"]
    model = LightModel(
        load_model(AutoConfig.from_pretrained(folder / "model"), str(folder / "model"), torch.float32), 64, 0
    )
    engine = LightEngine(model, lambda ids: "", [], valid_vocab=259, max_model_len=1024)
    params = SamplingParams(temperature=TEMPERATURE, max_tokens=1, prompt_logprobs=8)
    texts = [ids.tolist() for ids in sent[0]["input_ids"].unbind()]
    pending = [engine.submit(key, text, params) for key, text in zip(keys[0], texts, strict=True)]
    for i, future in enumerate(pending):
        ids, scores = (torch.tensor(part) for part in future.result(timeout=60).prompt_scores)
        length = len(sent[0]["responses"][i])
        actor = {name: columns[name][i].view(length, 8) for name in (SCORED_IDS, SCORED_LOG_PROBS)}
        assert torch.allclose(scores[-length - 1 : -1], actor[SCORED_LOG_PROBS], atol=1e-4)
        assert (ids[-length - 1 : -1] == actor[SCORED_IDS]).float().mean() > 0.99, "but for ties"
    engine.close()


@pytest.mark.parametrize("name", SOFT)
def test_only_rows_of_a_positive_weight_are_scored_and_sent_their_targets(steps, name):
    step = steps[name]
    wanted = sum(row.weight > 0 for row in replies(step, same_rows(step, steps["base"])))
    past_rows = len(step.now.extra.selection.past) if step.now.extra else 0
    keys, _, _ = step.workers.scorings[-1]
    unit = len(keys) * step.now.layout.micro_batch
    assert wanted - past_rows <= sum(map(len, keys)) < wanted - past_rows + unit
    number, s = (1 if step.settings.internalization.steps else 0), step.settings.internalization
    for data in step.workers.updates[number][1]:
        vocabulary = next(iter(step.workers.distributions.values())).shape[1]
        width = vocabulary if s.target == "full" else s.top_k
        lengths = data["teacher_top_log_probs"].offsets().diff()
        assert torch.equal(
            lengths, torch.tensor([width * int((row != 0).sum()) for row in data["internalization_weight"].unbind()])
        )
        assert ("teacher_top_ids" in data.keys()) == (s.target == "top_k")
        assert not {name for name in data.keys() if name.startswith("internalization_scored")}
        assert "internalization_given_ids" not in data.keys()


def test_soft_targets_are_kept_for_replay_as_they_were_scored(steps):
    step = steps["replay, top 8"]
    kept = [row for row in step.now.siri.replay.rows if row.step == 1]
    assert len(kept) > 2
    for row in kept:
        target, length = Target.of_past(row), row.span[1] - row.span[0]
        assert target.ids.shape == target.log_probs.shape == (length, 8)
        places = [
            k
            for k, d in step.workers.distributions.items()
            if step.rows.get(k, {}).get("reply", [])[: len(row.response)] == row.response
        ]
        scores = step.workers.distributions[places[0]][slice(*row.span)]
        assert torch.equal(target.log_probs.float(), scores.topk(8).values.float())
    mass = step.metrics["siri/internalization/teacher_top_mass_mean"]
    assert 0 < mass < 1


def test_a_row_kept_without_targets_cannot_be_replayed_with_them():
    settings = InternalizationSettings(target="top_k", divergence="forward")
    with pytest.raises(ValueError, match="siri.internalization.target=top_k: a row of step 0 was kept for replay w"):
        TopTokens.of_past(past(0)[0], settings)
    assert TopTokens.of_past(past(0, soft=True)[0], settings).ids.shape == (5, 8)
