# SPDX-License-Identifier: Apache-2.0
"""Internalization (SIRI, phase 2): which tokens of skill runs the plain policy learns, and with what weight.

The teacher is a trajectory produced with a skill in the prompt, the student the same policy on the plain prompt of the
same turn. A token passes the gate m when all three hold: its trajectory used a skill; the skill helped in that group
(Delta_g > 0); it is an action token. Its weight is the clipped GiGPO advantage of its turn:

    w = clip(A_{i,t} / s, 0, c)      s = success reward, c = 1 under norm=mean;  s = 1, c = 2 under norm=mean_std
    L_int = - sum m * w * log pi(y | plain prompt of that turn, previous tokens) / sum m
    lambda(k) = lambda_max * min(1, k / K_warm)

The sums run over one optimizer step, all ranks and micro-batches. So the driver computes the column m * w / sum m, and
every rank returns dp_size * sum(column * -log pi): verl averages gradients over ranks, and micro-batches add up.

Functions work on arrays over rows (one per turn) and tokens (response positions), without tokenizers and prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.rows import BoolRows, FloatRows, as_list, check_lengths, flags, numbers

if TYPE_CHECKING:
    import torch

REFERENCE_FLOOR = -5.0
"""Where no floor is set, the share of gated tokens below this plain log-probability is logged."""
LEAST_WEIGHT = 0.1
"""Under normalise=weights, a gated token counts at least this much on average."""


def open_rows(
    used_skill: Sequence[bool], delta: Sequence[float], active: Sequence[bool], settings: InternalizationSettings
) -> BoolRows:
    """The gate's row factors: the trajectory used a skill, and Delta_g > 0.

    Args:
        used_skill: (rows,) the row's trajectory saw a skill.
        delta: (rows,) Delta_g of the row's group, NaN where undefined: the gate is shut there.
        active: (rows,) the skill is active; read with `require_active`.

    Returns:
        (rows,) bool.
    """
    given = {"used_skill": used_skill, "delta": delta, "active": active}
    columns = {name: as_list(f"internalization: {name}", column) for name, column in given.items()}
    check_lengths("internalization", columns)
    used = flags("internalization: used_skill", columns["used_skill"])
    gate = np.asarray(columns["delta"], dtype=np.float64) > 0  # NaN compares False
    helped = gate if settings.gate else np.ones_like(gate)
    allowed = flags("internalization: active", columns["active"]) if settings.require_active else np.ones_like(gate)
    return used & helped & allowed


def advantage_weights(
    advantage: Sequence[float], scale: float, clip: float, settings: InternalizationSettings | None = None
) -> FloatRows:
    """w = clip(A / s, 0, c): (rows,); all 1 in the ablation without advantage weights.

    Raises:
        ValueError: an advantage is not finite; the message names the row.
    """
    values = numbers("internalization: advantage", advantage)
    if settings is not None and not settings.advantage_weights:
        return np.ones_like(values)
    return np.clip(values / scale, 0.0, clip)


def row_weights(
    advantage: Sequence[float], delta: Sequence[float], scale: float, clip: float, settings: InternalizationSettings
) -> FloatRows:
    """w of each row by `row_weight`: (rows,).

    Args:
        advantage: (rows,) A.
        delta: (rows,) Delta of the row's group; NaN where undefined, which weighs 0.
        scale: of `advantage_weights`.
        clip: of `advantage_weights`.
        settings: the kind of weight.
    """
    if settings.row_weight == "one":
        return np.ones(len(as_list("internalization: advantage", advantage)))
    if settings.row_weight == "gap":
        gaps = np.nan_to_num(np.asarray(delta, dtype=np.float64))
        return np.clip(gaps / settings.gap_scale, 0.0, settings.gap_clip)
    return advantage_weights(advantage, scale, clip, settings)


@dataclass(frozen=True)
class WeightColumn:
    """The weights of the loss, and their metrics.

    Attributes:
        column: (rows, tokens) float64, m * w / denominator of the row's optimizer step; 0 outside the gate.
        gate: (rows, tokens) bool, m.
        denominators: (steps,) the number each optimizer step was divided by; 0 where it holds no gated token.
        metrics: counts and means for the log, by name.
    """

    column: NDArray[np.float64]
    gate: NDArray[np.bool_]
    denominators: FloatRows
    metrics: dict[str, float]


def weight_column(
    open_row: Sequence[bool],
    weight: Sequence[float],
    span: ArrayLike,
    settings: InternalizationSettings,
    *,
    optimizer_step: Sequence[int] | None = None,
    all_tokens: Sequence[int] | None = None,
    plain_log_prob: ArrayLike | None = None,
    token_weight: ArrayLike | None = None,
    factor: ArrayLike | None = None,
) -> WeightColumn:
    """The per-token column m * f * w / sum m, f being 1 unless action tokens have a factor.

    Rows of weight 0 count in sum m: give all gated rows, deal them to optimizer steps, then leave out those whose
    column is 0.

    Args:
        open_row: (rows,) the gate's row factors (`open_rows` or `self_imitation_rows`).
        weight: (rows,) w (`advantage_weights`).
        span: (rows, tokens) True on tokens of the learned span.
        optimizer_step: (rows,) 0, 1, ...: the optimizer step that sees the row; None: one step sees all.
        all_tokens: (steps,) span tokens of all policy rows of each step; needed with `normalise=all_tokens`.
        plain_log_prob: (rows, tokens) log pi(y | plain prompt) before the update; needed with a floor, else for the
            log.
        token_weight: (rows, tokens) weights that the loss gives the tokens, for `normalise=weights`; None: 1.
        factor: (rows, tokens) f; None: 1.

    Raises:
        ValueError: shapes disagree, a weight is negative or not finite, or a needed array is missing.
    """
    mask = np.asarray(span, dtype=bool)
    if mask.ndim != 2:
        raise ValueError(f"internalization: span has shape {mask.shape}, expected (rows, tokens)")
    steps = (
        np.zeros(len(mask), dtype=np.int64) if optimizer_step is None else np.asarray(optimizer_step, dtype=np.int64)
    )
    rows_open = flags("internalization: open_row", as_list("internalization: open_row", open_row))
    weights = numbers("internalization: weight", weight)
    columns: dict[str, Any] = {"span": mask, "open_row": rows_open, "weight": weights, "optimizer_step": steps}
    check_lengths("internalization", columns)
    if (weights < 0).any():
        raise ValueError(
            f"internalization: weight of row {int(np.argmax(weights < 0))} is negative; weights are clipped at 0"
        )
    passing = mask & rows_open[:, None]
    gate, metrics = _floor(passing, plain_log_prob, settings)

    factors = np.ones(mask.shape) if factor is None else np.asarray(factor, dtype=np.float64)
    each = factors if token_weight is None else factors * np.asarray(token_weight, dtype=np.float64)
    denominators = _denominators(settings, gate, gate * each, steps, all_tokens)
    shares = weights / np.maximum(gate.sum(axis=1), 1) if settings.normalise == "rows" else weights
    shares = shares / np.where(denominators > 0, denominators, 1.0)[steps]
    column = gate * factors * shares[:, None]
    rows_gated = gate.any(axis=1)
    metrics |= {
        "rows_open": float(rows_open.sum()),
        "rows_gated": float(rows_gated.sum()),
        "rows_weighted": float((rows_gated & (weights > 0)).sum()),
        "tokens_gated": float(gate.sum()),
        "weight_mean": float(weights[rows_gated].mean()) if rows_gated.any() else 0.0,
    }
    return WeightColumn(column, gate, denominators, metrics)


def internalization_loss(log_prob: torch.Tensor, column: torch.Tensor, dp_size: int = 1) -> torch.Tensor:
    """This rank's share of L_int on one micro-batch: dp_size * sum(column * -log_prob), a scalar.

    Summed over micro-batches and averaged over ranks it is L_int. Positions outside the gate are left out even where
    their log-probability is not finite.

    Args:
        log_prob: (rows, tokens) log pi(y | plain prompt).
        column: (rows, tokens) from `weight_column`.
        dp_size: data-parallel size.
    """
    return weighted_sum(-log_prob, column, dp_size)


def weighted_sum(loss: torch.Tensor, column: torch.Tensor, dp_size: int = 1) -> torch.Tensor:
    """`internalization_loss` of any loss per token: dp_size * sum(column * loss), a scalar.

    Args:
        loss: (rows, tokens).
        column: (rows, tokens) from `weight_column`.
        dp_size: data-parallel size.
    """
    chosen = column != 0
    return dp_size * (column[chosen] * loss[chosen]).sum()


def _denominators(
    settings: InternalizationSettings,
    gate: NDArray[np.bool_],
    token_weights: NDArray[np.float64],
    steps: NDArray[np.int64],
    all_tokens: Sequence[int] | None,
) -> FloatRows:
    """(steps,) what each optimizer step is divided by."""
    number = max(int(steps.max(initial=-1)) + 1, 0 if all_tokens is None else len(all_tokens))

    def per_step(values: ArrayLike) -> FloatRows:
        return np.bincount(steps, weights=np.asarray(values), minlength=number).astype(np.float64)

    gated = per_step(gate.sum(axis=1))
    if settings.normalise == "gated":
        return gated
    if settings.normalise == "rows":
        return per_step(gate.any(axis=1))
    if settings.normalise == "weights":
        return np.maximum(per_step(token_weights.sum(axis=1)), LEAST_WEIGHT * gated)
    if all_tokens is None:
        raise ValueError(
            "internalization: normalise=all_tokens needs all_tokens, the span tokens of each optimizer step"
        )
    denominators = numbers("internalization: all_tokens", all_tokens)
    if len(denominators) != number or (denominators < gated).any():
        raise ValueError(
            f"internalization: all_tokens={denominators.tolist()} for gated tokens {gated.tolist()} per step"
        )
    return denominators


def _floor(
    passing: NDArray[np.bool_], plain_log_prob: ArrayLike | None, settings: InternalizationSettings
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """The gate without tokens below the floor, and the metrics of the plain policy's log-probabilities."""
    if plain_log_prob is None:
        if settings.log_prob_floor is not None:
            raise ValueError(f"internalization: log_prob_floor={settings.log_prob_floor} needs plain_log_prob")
        return passing, {}
    values = np.asarray(plain_log_prob, dtype=np.float64)
    if values.shape != passing.shape:
        raise ValueError(f"internalization: plain_log_prob has shape {values.shape}, span has {passing.shape}")
    bad = np.argwhere(passing & np.isnan(values))
    if len(bad):
        raise ValueError(f"internalization: plain_log_prob of row {bad[0][0]}, token {bad[0][1]} is NaN")
    floor = REFERENCE_FLOOR if settings.log_prob_floor is None else settings.log_prob_floor
    gate = passing if settings.log_prob_floor is None else passing & (values >= floor)
    return gate, plain_policy_metrics(values[passing], values[gate], floor)


def plain_policy_metrics(
    passing: NDArray[np.float64], gated: NDArray[np.float64], floor: float = REFERENCE_FLOOR
) -> dict[str, float]:
    """Metrics of the plain policy's log-probabilities of the learned tokens.

    Args:
        passing: plain log-probabilities of the tokens that pass the gate's row factors.
        gated: of those that pass the floor too, if there is one.
        floor: the share of `passing` below it is reported.
    """
    return {
        "below_floor_share": float((passing < floor).mean()) if passing.size else 0.0,
        "plain_log_prob_mean": float(gated.mean()) if gated.size else math.nan,
    }
