# SPDX-License-Identifier: Apache-2.0
"""The rows of a batch in verl's TransferQueue: read columns and rows, write columns and rows.

This is the only module that imports TransferQueue or unwraps its items. verl's V1 trainers keep the data of a batch
there and pass `RowBatch` objects around, which hold the row keys, their tags and the partition (`train` or `val`).
A change of verl's data plane changes this file alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transfer_queue
from tensordict import TensorDict
from transfer_queue import KVBatchMeta as RowBatch
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

EXTRA_FIELDS = "extra_fields"
"""Column of what the agent loop states about each row: one dict per row (siri_verl/rollout/row_contract.py)."""

SOME_ROWS = ("internalization_given_ids", "internalization_scored_ids", "internalization_scored_log_probs")
"""Columns of scoring passes (siri_verl/training/soft_targets.py), which only some rows of a batch have."""

__all__ = [
    "SOME_ROWS",
    "EXTRA_FIELDS",
    "RowBatch",
    "get_columns",
    "get_extra_fields",
    "get_rows",
    "get_scores",
    "get_texts",
    "put_column",
    "put_rows",
    "tensors_alone",
    "without_padding",
]


def without_padding(batch: RowBatch) -> RowBatch:
    """The rows that were played: padding and internalization rows are left out."""
    played = [i for i, tag in enumerate(batch.tags) if not tag.get("is_padding", False)]
    return RowBatch(
        keys=[batch.keys[i] for i in played],
        tags=[batch.tags[i] for i in played],
        partition_id=batch.partition_id,
        fields=batch.fields,
        extra_info=batch.extra_info,
    )


def get_columns(keys: Sequence[str], partition_id: str, names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of some rows, in the order of `keys`.

    Returns:
        Name -> one item per row: a tensor of the row's own length, or a plain Python object. Columns that the rows do
        not have are left out.
    """
    data = transfer_queue.kv_batch_get(keys=list(keys), partition_id=partition_id, select_fields=list(names))
    return {name: _items(data[name]) for name in names if name in data.keys()}


def get_extra_fields(keys: Sequence[str], partition_id: str) -> list[Any]:
    """(rows,) what the agent loop states about each row."""
    return get_columns(keys, partition_id, [EXTRA_FIELDS])[EXTRA_FIELDS]


def get_scores(keys: Sequence[str], partition_id: str) -> list[float]:
    """(rows,) the reward function's score of each row's trajectory."""
    return [float(row.sum()) for row in get_columns(keys, partition_id, ["rm_scores"])["rm_scores"]]


def get_texts(keys: Sequence[str], partition_id: str, name: str, tokenizer: Any) -> list[str]:
    """(rows,) a column of token ids (`prompts`, `responses`), decoded with its special tokens."""
    return [tokenizer.decode(ids, skip_special_tokens=False) for ids in get_columns(keys, partition_id, [name])[name]]


def get_rows(keys: Sequence[str], partition_id: str) -> list[dict[str, Any]]:
    """Every column of some rows, one dict per row; `extra_fields` is a plain dict, as `put_rows` takes it."""
    data = transfer_queue.kv_batch_get(keys=list(keys), partition_id=partition_id)
    columns = {name: _items(data[name]) for name in data.keys()}
    return [{name: column[i] for name, column in columns.items()} for i in range(len(keys))]


def tensors_alone(batch: RowBatch, processor: Any) -> RowBatch:
    """Restrict what worker calls fetch of a batch to the columns that a model can use and that all rows have.

    verl hands a worker every column of its rows, texts and dictionaries included; each is serialised, split into
    micro-batches and moved to the device item by item.

    Args:
        batch: the rows; all have the same columns.
        processor: the model's; None where it takes text alone.

    Returns:
        The same object, with `fields` set.
    """
    first = transfer_queue.kv_batch_get(keys=batch.keys[:1], partition_id=batch.partition_id)
    batch.fields = [
        name
        for name in first.keys()
        if (torch.is_tensor(first[name]) and name not in SOME_ROWS)
        or (processor is not None and name == "multi_modal_inputs")
    ]
    return batch


def put_rows(partition_id: str, rows: Mapping[str, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Add rows: key -> (columns, tag)."""
    transfer_queue.kv_batch_put(
        keys=list(rows),
        partition_id=partition_id,
        fields=list_of_dict_to_tensordict([columns for columns, _ in rows.values()]),
        tags=[tag for _, tag in rows.values()],
    )


def put_column(batch: RowBatch, name: str, values: Sequence[torch.Tensor]) -> RowBatch:
    """Add a column to every row of a batch.

    Args:
        batch: the rows.
        name: of the column.
        values: (rows,) one tensor per row, of the row's own length.

    Returns:
        The batch with the column.
    """
    nested = torch.nested.as_nested_tensor(list(values), layout=torch.jagged)
    return transfer_queue.kv_batch_put(
        keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict({name: nested}, batch_size=len(batch))
    )


def _items(column: Any) -> list[Any]:
    return list(column.unbind()) if torch.is_tensor(column) else [_plain(item) for item in column]


def _plain(item: Any) -> Any:
    """Non-tensor columns come back as list subclasses whose items may be wrapped."""
    return getattr(item, "data", item)
