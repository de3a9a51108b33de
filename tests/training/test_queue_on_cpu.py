# SPDX-License-Identifier: Apache-2.0
"""Rows in a real TransferQueue: read, restricted for worker calls, copied."""

import torch

from siri_verl.core.pairing import PLAIN
from siri_verl.training.queue import get_rows, put_rows, tensors_alone

TAG = {"status": "success", "prompt_len": 2, "response_len": 1, "seq_len": 3, "global_steps": 1}


def rows(lengths):
    return {
        f"u_{i}_0": (
            {
                "input_ids": torch.arange(n),
                "rm_scores": torch.full((n,), float(i)),
                "extra_fields": {"arm": PLAIN, "transcript": [["seen", str(i)]], "plain_prompt_ids": [1] * i or None},
                "multi_modal_inputs": {},
                "task_id": f"task {i}",
            },
            dict(TAG),
        )
        for i, n in enumerate(lengths)
    }


def stored(transfer_queue, partition, lengths=(3, 1, 4)):
    content = rows(lengths)
    put_rows(partition, content)
    return content, transfer_queue.KVBatchMeta(
        keys=list(content), tags=[tag for _, tag in content.values()], partition_id=partition
    )


def test_rows_come_back_as_they_were_put(transfer_queue):
    content, batch = stored(transfer_queue, "back")
    found = get_rows(batch.keys[::-1], "back")
    for key, row in zip(batch.keys[::-1], found, strict=True):
        expected = content[key][0]
        assert row["extra_fields"] == expected["extra_fields"]
        assert type(row["extra_fields"]) is dict
        assert row["task_id"] == expected["task_id"]
        assert torch.equal(row["input_ids"], expected["input_ids"])
        assert torch.equal(row["rm_scores"], expected["rm_scores"])


def test_rows_that_were_read_can_be_put_again(transfer_queue):
    content, batch = stored(transfer_queue, "again")
    copies = {f"copy_{i}_0": (row, dict(TAG)) for i, row in enumerate(get_rows(batch.keys, "again"))}
    put_rows("again", copies)
    for (expected, _), row in zip(content.values(), get_rows(list(copies), "again"), strict=True):
        assert row["extra_fields"] == expected["extra_fields"]
        assert torch.equal(row["input_ids"], expected["input_ids"])


def test_worker_calls_fetch_tensors_alone(transfer_queue):
    from verl.utils.transferqueue_utils import kv_batch_meta2batch_meta

    _, batch = stored(transfer_queue, "alone")
    assert set(kv_batch_meta2batch_meta(batch).field_names) > {"extra_fields", "task_id"}
    assert tensors_alone(batch, processor=None) is batch
    # What verl's workers resolve the batch to.
    assert sorted(kv_batch_meta2batch_meta(batch).field_names) == ["input_ids", "rm_scores"]


def test_multi_modal_inputs_reach_a_model_that_takes_them(transfer_queue):
    _, batch = stored(transfer_queue, "pictures")
    assert sorted(tensors_alone(batch, processor=object()).fields) == ["input_ids", "multi_modal_inputs", "rm_scores"]


def test_a_column_added_later_is_fetched_too(transfer_queue):
    from siri_verl.training.queue import put_column

    _, batch = stored(transfer_queue, "later")
    tensors_alone(batch, processor=None)
    batch = put_column(batch, "weights", [torch.ones(n) for n in (3, 1, 4)])
    assert sorted(tensors_alone(batch, processor=None).fields) == ["input_ids", "rm_scores", "weights"]
