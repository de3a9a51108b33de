# SPDX-License-Identifier: Apache-2.0
"""Stop a run on a non-finite update. verl itself skips such an optimizer step with one line of warning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

WATCHED = ("loss", "grad_norm", "pg_loss", "actor/pg_loss", "kl_loss", "internalization_loss")
COLUMNS = ("advantages", "old_log_probs", "rollout_log_probs", "ref_log_prob", "internalization_weight")


class NonFiniteUpdateError(FloatingPointError):
    """An optimizer step had a loss or gradient norm that is not finite."""


def non_finite(metrics: Mapping[str, Any]) -> dict[str, list[int]]:
    """Watched metrics with values that are not finite.

    Returns:
        Name -> positions of these values; a metric holds one value per optimizer step or micro-batch.
    """
    from verl.utils.metric import Metric

    found: dict[str, list[int]] = {}
    for name in WATCHED:
        if name not in metrics:
            continue
        # An engine without a data-parallel group returns verl's Metric objects, which hold a list.
        values = metrics[name].values if isinstance(metrics[name], Metric) else metrics[name]
        values = list(values) if isinstance(values, Iterable) else [values]
        bad = [i for i, value in enumerate(values) if not math.isfinite(float(value))]
        if bad:
            found[name] = bad
    return found


def check_update(metrics: Mapping[str, Any], batch: Any) -> None:
    """Raise if any optimizer step of an update was not finite, naming the rows whose columns are not finite.

    Args:
        metrics: what `update_actor` returned: name -> list with one value per optimizer step or micro-batch.
        batch: the rows that were trained on.

    Raises:
        NonFiniteUpdateError: names the metric, the optimizer steps and the rows.
    """
    found = non_finite(metrics)
    if not found:
        return
    where = "; ".join(f"{name} at {positions}" for name, positions in found.items())
    raise NonFiniteUpdateError(f"update is not finite: {where}. {_suspects(batch)}")


def _suspects(batch: Any) -> str:
    import torch

    from siri_verl.training import queue

    columns = [name for name in COLUMNS if batch.fields is None or name in batch.fields]
    data = queue.get_columns(batch.keys, batch.partition_id, [*columns, "loss_mask"])
    rows: dict[str, list[str]] = {}
    for name in columns:
        if name not in data:
            continue
        for key, values in zip(batch.keys, data[name], strict=True):
            if not bool(torch.isfinite(values.float()).all()):
                rows.setdefault(name, []).append(key)
    if rows:
        named = "; ".join(f"{name}: {len(keys)} rows, first {keys[:8]}" for name, keys in rows.items())
        return f"Rows with values that are not finite: {named}"
    tokens = [int(values.sum()) for values in data["loss_mask"]]
    empty = [key for key, count in zip(batch.keys, tokens, strict=True) if count == 0]
    return (
        f"All advantages and log-probs of the {len(batch.keys)} rows are finite; {len(empty)} rows hold no loss token "
        f"(first {empty[:8]}): an optimizer step made of only such rows divides 0 by 0. Use fewer "
        "siri.update.mini_batches, or a smaller learning rate if the model itself diverged"
    )
