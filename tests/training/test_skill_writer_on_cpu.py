# SPDX-License-Identifier: Apache-2.0
"""The skill writer's replies in a batch: where their rows stand, and what verl's policy loss is given of them."""

import pytest
import torch
from support.driver import Step, prepare

from siri_verl.training.writer import WrittenReply

REPLIES = {
    "s0001": WrittenReply([5, 6, 7, 8], [9, 10, 11], [-0.5, -0.25, -0.125]),
    "s0002": WrittenReply([5, 6], [12, 13, 14, 15, 16], [-1.0] * 5),
}
TRAINED = ("siri.writer.train=true", "siri.writer.groups=1", "siri.writer.warm_up_steps=0")
LAYOUT = ("siri.update.mini_batches=2",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("writer")
    prepare(made)
    return made


@pytest.fixture(scope="module", params=["mining", pytest.param("internalization", marks=pytest.mark.slow)])
def steps(request, transfer_queue, folder):
    """A step whose bank's two skills were written by the policy, and the same without."""
    given = (*LAYOUT, f"siri.phases.fixed={request.param}")
    with_replies = Step(transfer_queue, folder, *given, *TRAINED, dp_size=2, written=REPLIES)
    return with_replies, Step(transfer_queue, folder, *given, dp_size=2)


def sent_rows(step):
    """Key -> what its worker is sent of it."""
    found = {}
    for keys, data in zip(step.workers.keys, step.workers.sent, strict=True):
        columns = {name: data[name].unbind() for name in ("responses", "response_mask", "loss_mask", "advantages")}
        found |= {key: {name: rows[i] for name, rows in columns.items()} for i, key in enumerate(keys)}
    return found


def test_replies_are_learned_with_their_advantages(steps):
    step, _ = steps
    rows, added = sent_rows(step), step.now.writer_rows
    deltas = {e.skill_id: e.delta for e in step.now.effects.values() if e.defined}
    assert len(added.replies) == 2 and deltas["s0001"] != deltas["s0002"]
    better = max(deltas, key=deltas.get)
    for key, (reply, advantage) in zip(added.keys, added.replies, strict=True):
        row = rows[key]
        assert row["responses"].tolist() == reply.response
        assert row["response_mask"].tolist() == row["loss_mask"].tolist() == [1] * len(reply.response)
        assert row["advantages"].tolist() == pytest.approx([advantage] * len(reply.response))
        assert advantage == pytest.approx(1.0 if reply == REPLIES[better] else -1.0), "two rewards, z-scored"
    assert step.metrics["siri/writer/rows"] == 2 and step.metrics["siri/writer/advantage_abs"] == pytest.approx(1.0)


def test_every_worker_and_optimizer_step_gets_as_many_rows_and_filler_counts_nowhere(steps):
    step, _ = steps
    rows, added = sent_rows(step), step.now.writer_rows
    filler = set(added.added) - set(added.keys)
    assert len(filler) == len(added.added) - 2 > 0
    for key in filler:
        assert not rows[key]["response_mask"].any() and not rows[key]["loss_mask"].any()
    for members in step.slices():
        assert sum(key in added.added for key in members) == len(added.added) / step.steps
    assert sum(key in added.keys for members in step.slices() for key in members) == 2


def test_the_policys_rows_are_as_without_the_writer(steps):
    step, plain = steps
    ours, theirs = sent_rows(step), sent_rows(plain)
    for key, other in zip(step.rows, plain.rows, strict=True):
        for name in ("responses", "response_mask", "advantages"):
            assert torch.equal(ours[key][name], theirs[other][name]), name
    assert plain.now.writer_rows is None and "siri/writer/rows" not in plain.metrics
