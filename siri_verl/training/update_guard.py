# SPDX-License-Identifier: Apache-2.0
"""Numbers of an update that are not finite: the run stops, or goes on without them (`siri.update.non_finite`).

verl itself skips an optimizer step whose gradient norm is not finite, with one line of warning.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

WATCHED = ("loss", "grad_norm", "pg_loss", "actor/pg_loss", "kl_loss", "internalization_loss")
COLUMNS = (
    *("advantages", "returns", "old_log_probs", "rollout_log_probs", "ref_log_prob", "rollout_is_weights"),
    *("internalization_weight", "teacher_log_probs", "teacher_old_log_probs"),
)
MASKS = ("response_mask", "loss_mask")


class NonFiniteUpdateError(FloatingPointError):
    """An optimizer step had a loss or gradient norm that is not finite."""


def non_finite(metrics: Mapping[str, Any]) -> dict[str, list[int]]:
    """Watched metrics with values that are not finite.

    Returns:
        Name -> positions of these values; a metric holds one value per optimizer step or micro-batch.
    """
    found: dict[str, list[int]] = {}
    for name in WATCHED:
        if name not in metrics:
            continue
        bad = [i for i, value in enumerate(_values(metrics[name])) if not math.isfinite(float(value))]
        if bad:
            found[name] = bad
    return found


def check_rows(batch: Any, skip: bool) -> int:
    """Before an update: find the rows whose log-probs, advantages or weights are not finite.

    Args:
        batch: the rows that are to be trained on.
        skip: take these rows out: their columns and masks become 0, as those of padding.

    Returns:
        The number of rows taken out.

    Raises:
        NonFiniteUpdateError: there are such rows, and `skip` is not set; names them.
    """
    rows = _rows_not_finite(batch)
    if not rows:
        return 0
    if not skip:
        raise NonFiniteUpdateError(
            f"nothing was updated. {_named(rows)}. siri.update.non_finite=skip goes on without these rows"
        )
    bad = sorted({key for keys in rows.values() for key in keys})
    logger.warning("%d of %d rows are left out of the update. %s", len(bad), len(batch.keys), _named(rows))
    _clear(batch, bad)
    return len(bad)


def check_update(metrics: dict[str, Any], batch: Any, skip: bool = False) -> int:
    """After an update: find the optimizer steps that were not finite.

    Args:
        metrics: what `update_actor` returned: name -> list with one value per optimizer step or micro-batch. With
            `skip`, values that are not finite are taken out.
        batch: the rows that were trained on.
        skip: go on where there are finite steps too.

    Returns:
        The number of optimizer steps that were not finite.

    Raises:
        NonFiniteUpdateError: names the metric, the optimizer steps and the rows whose columns are not finite.
    """
    found = non_finite(metrics)
    if not found:
        return 0
    where = "; ".join(f"{name} at {positions}" for name, positions in found.items())
    steps = len(found.get("grad_norm", ()))
    if not skip or steps == len(_values(metrics.get("grad_norm", ()))):
        raise NonFiniteUpdateError(f"update is not finite: {where}. {_suspects(batch)}")
    logger.warning("update is not finite: %s; %d optimizer steps are left out", where, steps)
    for name in found:
        values = _values(metrics[name])
        values[:] = [value for value in values if math.isfinite(float(value))]
    return steps


def _values(metric: Any) -> list[Any]:
    """The values of a metric. An engine without a data-parallel group returns verl's Metric objects, which hold a
    list."""
    from verl.utils.metric import Metric

    values = metric.values if isinstance(metric, Metric) else metric
    if isinstance(values, list):
        return values
    return list(values) if isinstance(values, Iterable) else [values]


def _rows_not_finite(batch: Any) -> dict[str, list[str]]:
    """Column -> keys of the rows with a value that is not finite."""
    import torch

    from siri_verl.training import queue

    columns = [name for name in COLUMNS if batch.fields is None or name in batch.fields]
    found: dict[str, list[str]] = {}
    for name, rows in queue.get_columns(batch.keys, batch.partition_id, columns).items():
        bad = [key for key, v in zip(batch.keys, rows, strict=True) if not bool(torch.isfinite(v.float()).all())]
        if bad:
            found[name] = bad
    return found


def _named(rows: Mapping[str, list[str]]) -> str:
    named = "; ".join(f"{name}: {len(keys)} rows, first {keys[:8]}" for name, keys in rows.items())
    return f"Rows with values that are not finite: {named}"


def _clear(batch: Any, keys: list[str]) -> None:
    import torch

    from siri_verl.training import queue

    rows = batch.select_keys(keys)
    for name, values in queue.get_columns(keys, batch.partition_id, [*COLUMNS, *MASKS]).items():
        queue.put_column(rows, name, [torch.zeros_like(value) for value in values])


def _suspects(batch: Any) -> str:
    from siri_verl.training import queue

    rows = _rows_not_finite(batch)
    if rows:
        return _named(rows)
    tokens = [int(mask.sum()) for mask in queue.get_columns(batch.keys, batch.partition_id, ["loss_mask"])["loss_mask"]]
    empty = [key for key, count in zip(batch.keys, tokens, strict=True) if count == 0]
    return (
        f"All advantages and log-probs of the {len(batch.keys)} rows are finite; {len(empty)} rows hold no loss token "
        f"(first {empty[:8]}): an optimizer step made of only such rows divides 0 by 0. Use fewer "
        "siri.update.mini_batches, or a smaller learning rate if the model itself diverged"
    )
