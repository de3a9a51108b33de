# SPDX-License-Identifier: Apache-2.0
"""The sample of trajectories a run keeps. Rows lie in a real TransferQueue."""

import pytest
import torch
from support.tiny_model import make_tokenizer
from tensordict import NonTensorStack, TensorDict

from siri_verl.failures import ConfigError
from siri_verl.settings.schema import SampleSettings
from siri_verl.training.sample import TrajectorySample, due
from siri_verl.training.step_table import StepTable

TOKENIZER = make_tokenizer()
SAMPLE = SampleSettings(validation=4, training=2, max_chars=100)
BLOCK = "When a note is there: read it"


def put(tq, partition, prefix, groups, *, skilled=(), sessions=2, transcript=True):
    """Groups (task, category) of two-turn episodes; the last session of `skilled` tasks saw a skill."""
    keys, fields, replies = [], [], []
    for number, (task, category) in enumerate(groups):
        for session in range(sessions):
            shown = task in skilled and session == sessions - 1
            for turn in (0, 1):
                keys.append(f"{prefix}{number}_{session}_{turn}")
                replies.append(f"<think> x </think> <action> go {task} {session} {turn} </action>")
                fields.append(
                    {
                        "anchor": f"page {turn}",
                        "turn_reward": 10.0 * turn * shown,
                        "valid": True,
                        "admissible": turn == 0,
                        "task_id": task,
                        "category": category,
                        "arm": "skill" if shown else "plain",
                        "skill_id": "s0001" if shown else "",
                        "success": shown,
                        "score": 0.5,
                        "task": f"solve {task}",
                        "transcript": [("first page", "go"), ("y" * 300, "stop")] if turn and transcript else None,
                        "final_observation": "last page" if turn and transcript else None,
                        "explanation": f"{task} misses a lid" if turn and transcript else None,
                    }
                )
    tokens = [torch.tensor(TOKENIZER.encode(text)) for text in replies]
    content = {"responses": torch.nested.as_nested_tensor(tokens, layout=torch.jagged)}
    content["extra_fields"] = NonTensorStack(*fields)
    tags = [{}] * len(keys)
    tq.kv_batch_put(keys=keys, partition_id=partition, fields=TensorDict(content, batch_size=len(keys)), tags=tags)
    return keys, tags


def sample(settings=SAMPLE, seed=1):
    return TrajectorySample(settings, seed, TOKENIZER, {"s0001": BLOCK}.__getitem__)


PANEL = [(f"task-{category}-{number}", category) for category in ("bath", "pets") for number in range(5)]


def test_every_validation_keeps_the_same_tasks_spread_over_categories(transfer_queue):
    one, other = sample(), sample()
    first = one.validation(*put(transfer_queue, "val", "a", PANEL), 0)
    later = other.validation(*put(transfer_queue, "val", "b", PANEL[::-1]), 5)
    assert {t.task_id for t in first} == {t.task_id for t in later}
    assert sorted(t.category for t in first) == ["bath", "bath", "pets", "pets"]
    assert [(t.source, t.step) for t in (first[0], later[0])] == [("validation", 0), ("validation", 5)]
    picks = [{t.task_id for t in sample(seed=s).validation(*put(transfer_queue, "val", "c", PANEL), 0)} for s in (2, 3)]
    assert any(pick != {t.task_id for t in first} for pick in picks), "the seed picks the tasks"


def test_a_trajectory_says_what_was_seen_replied_and_done(transfer_queue):
    kept = sample().validation(*put(transfer_queue, "val", "d", PANEL), 0)
    turn, last = kept[0].turns
    assert (turn.observation, turn.action, turn.reward, turn.admissible) == ("first page", "go", 0.0, True)
    assert "<action>" in turn.reply and f"go {kept[0].task_id} 0 0" in turn.reply
    assert last.observation == "y" * 100 + " [200 more characters]" and not last.admissible
    assert kept[0].task == f"solve {kept[0].task_id}"
    assert kept[0].score == 0.5
    assert (kept[0].final_observation, kept[0].explanation) == ("last page", f"{kept[0].task_id} misses a lid")
    assert kept[0].session == 0


def test_batches_of_one_validation_share_what_is_kept(transfer_queue):
    made = sample(SampleSettings(validation=3, training=0))
    sizes = [
        len(made.validation(*put(transfer_queue, "val", f"e{part}-", PANEL[part : part + 2]), 1)) for part in (0, 2, 4)
    ]
    assert sizes == [2, 1, 0]
    assert len(made.validation(*put(transfer_queue, "val", "f", PANEL), 2)) == 3, "the next validation has its own"


def test_training_keeps_one_trajectory_of_each_arm_and_paired_groups_first(transfer_queue):
    keys, tags = put(transfer_queue, "train", "g", PANEL, skilled={"task-pets-3"}, sessions=4)
    kept = sample().training(StepTable.fetch(keys, tags), 7)
    assert len(kept) == 3
    pair = [t for t in kept if t.task_id == "task-pets-3"]
    assert {(t.arm, t.skill_id, t.skill_text, t.success) for t in pair} == {
        ("plain", "", "", False),
        ("skill", "s0001", BLOCK, True),
    }
    assert [t.turns[1].reward for t in pair if t.arm == "skill"] == [10.0]
    assert {t.source for t in kept} == {"training"} and {t.step for t in kept} == {7}


def test_without_transcripts_anchors_and_replies_are_read(transfer_queue):
    keys, tags = put(transfer_queue, "train", "h", PANEL[:1], transcript=False)
    (kept,) = sample().training(StepTable.fetch(keys, tags), 1)
    assert [(turn.observation, turn.action) for turn in kept.turns] == [
        ("page 0", "go task-bath-0 0 0"),
        ("page 1", "go task-bath-0 0 1"),
    ]


def test_nothing_is_read_where_nothing_is_kept(transfer_queue):
    made = sample(SampleSettings(validation=0, training=0))
    keys, tags = put(transfer_queue, "train", "i", PANEL[:2])
    assert made.training(StepTable.fetch(keys, tags), 1) == []
    assert made.validation(["no such_0_0"], [{}], 1) == []


def test_training_is_sampled_where_verl_validates_and_at_both_ends():
    assert [step for step in range(1, 12) if due(step, 11, 4)] == [1, 4, 8, 11]
    assert [step for step in range(1, 12) if due(step, 11, -1)] == [1, 11]


@pytest.mark.parametrize(("name", "value"), [("validation", -1), ("training", -2), ("max_chars", 5)])
def test_wrong_settings_are_named(name, value):
    with pytest.raises(ConfigError, match=rf"siri\.samples\.{name}={value}: use at least"):
        SampleSettings(**{name: value})
