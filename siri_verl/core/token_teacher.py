# SPDX-License-Identifier: Apache-2.0
"""The token teacher: one formula behind a family of self-distillation methods.

Per token of a reply, with log-probabilities s of the present policy (with gradient), o of the policy before the update,
t of the teacher, which is the policy before the update under another prompt, and the advantage A:

    loss              w_row * f_action * w_token * ratio * D(s, t)          what is minimised, times lambda
    advantage_term    A + lambda * w_row * f_action * w_token * (t - o)
    advantage_factor  A * ((1 - lambda) + lambda * clip(exp(sign(A) (t - o)), 1 - e, 1 + e))     per token
                      A * max(0.1, 1 + lambda * clip(q / mean |q| of the group, -e, e))            per row,
                      q = exp(sign(A) mean (t - o)) - 1

    w_token  one;  shift: clip(t - s, 0, c);  gate: sigmoid(b (t - s))      without gradient
    ratio    1, or min(exp(s - o), c), without gradient unless ratio_detached=false
    w_row    clip(A / scale, 0, clip);  min(gap / gap_scale, gap_clip);  1

siri_verl/core/teacher_methods.py names the settings of published methods. Nothing here sums over tokens: the
denominator belongs to the optimizer step (siri_verl/core/internalization.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from siri_verl.core.divergence import add_tail, distribution_divergence, sampled_divergence
from siri_verl.core.internalization_settings import BLOCK, InternalizationSettings
from siri_verl.core.teacher_methods import vetted_settings
from siri_verl.named import named

LEAST_ROW_FACTOR = 0.1
"""Least factor of an advantage under factor_level=row."""


@dataclass(frozen=True)
class TokenTerms:
    """What the token teacher adds to an update.

    Attributes:
        loss: (rows, tokens) per token, before coefficient and denominator; 0 outside the mask and where the role is not
            `loss`.
        coefficient: lambda.
        advantage: (rows, tokens) after the method's change.
        weight: (rows, tokens) w_row * f_action * w_token, without gradient; 0 outside the mask.
    """

    loss: torch.Tensor
    coefficient: float
    advantage: torch.Tensor
    weight: torch.Tensor


def token_terms(
    method: str | InternalizationSettings,
    *,
    student: torch.Tensor,
    old: torch.Tensor,
    teacher: torch.Tensor,
    advantage: torch.Tensor,
    mask: torch.Tensor,
    student_top: torch.Tensor | None = None,
    teacher_top: torch.Tensor | None = None,
    action: torch.Tensor | None = None,
    gap: torch.Tensor | None = None,
    group: torch.Tensor | None = None,
    update: int | None = None,
    norm: str = "mean_std",
    success_reward: float = 1.0,
) -> TokenTerms:
    """The terms of a method.

    Args:
        method: a name in `METHODS` (siri_verl/core/teacher_methods.py), or settings.
        student: (rows, tokens) s.
        old: (rows, tokens) o.
        teacher: (rows, tokens) t; no gradient passes through it.
        advantage: (rows, tokens), (rows, 1) or (rows,) A; under row_weight=return R minus its baseline.
        mask: (rows, tokens) tokens of the span.
        student_top: (rows, tokens, K) the student's log-probabilities of K tokens; needed unless target=sampled. Under
            target=full, K is the vocabulary.
        teacher_top: the teacher's, of the same tokens.
        action: (rows, tokens) tokens of the action; needed where action_factor is not 1.
        gap: (rows,) Delta of each row's group; needed with row_weight=gap.
        group: (rows,) number of each row's group, for factor_level=row; None: all rows are one group.
        update: k of lambda(k), counted from 1; None: lambda_max.
        norm: how A was normalised, `mean` or `mean_std`; sets the default scale and clip of row weights.
        success_reward: A's scale under norm=mean.

    Raises:
        ConfigError: no such method.
        ValueError: shapes differ, or an argument that the settings need is missing.
    """
    settings = vetted_settings(method) if isinstance(method, str) else method
    mask = mask.bool()
    for name, given in (("old", old), ("teacher", teacher), ("mask", mask)):
        if given.shape != student.shape:
            raise ValueError(f"token_terms: {name} has shape {tuple(given.shape)}, student {tuple(student.shape)}")
    if advantage.dim() == 1:
        advantage = advantage[:, None]
    advantage = advantage.expand(student.shape)
    coefficient = settings.lambda_max if update is None else settings.lambda_at(update)
    rows = row_weights(settings, advantage, gap, norm, success_reward) * action_factors(settings, action, mask)
    zero = torch.zeros_like(student)
    o, t = (torch.where(mask, values.detach(), zero.detach()) for values in (old, teacher))
    compared = torch.where(mask, student.detach(), zero) if settings.role == "loss" else o
    weight = torch.where(mask, rows * token_weights(settings, compared, t), 0.0)
    if settings.role == "advantage_term":
        return TokenTerms(zero, coefficient, advantage + coefficient * weight * (t - o), weight)
    if settings.role == "advantage_factor":
        factor = _factors(settings, coefficient, advantage, t - o, mask, group)
        return TokenTerms(zero, coefficient, torch.where(mask, advantage * factor, advantage), weight)
    soft = None if settings.target == "sampled" else soft_divergence(settings, student_top, teacher_top, mask)
    loss = token_loss(settings, student, o, t, mask, soft)
    loss = torch.where(mask, rows * loss, zero)
    if settings.replaces_policy:
        advantage = torch.zeros_like(advantage)
    return TokenTerms(loss, coefficient, advantage, weight)


def token_loss(
    settings: InternalizationSettings,
    student: torch.Tensor,
    old: torch.Tensor | None,
    teacher: torch.Tensor | None,
    mask: torch.Tensor,
    soft: torch.Tensor | None = None,
) -> torch.Tensor:
    """(rows, tokens) w_token * ratio * D(s, t) on the mask, else 0.

    Args:
        settings: of the method.
        student: (rows, tokens) s.
        old: (rows, tokens) o; None if no formula of the settings has it.
        teacher: (rows, tokens) t; None if no formula of the settings has it.
        mask: (rows, tokens) bool.
        soft: (rows, tokens) D where target is not `sampled`.
    """
    # Values outside the mask may be anything, also NaN, and their gradient would then be NaN.
    zero = torch.zeros_like(student)
    s = torch.where(mask, student, zero)
    o, t = (s.detach() if given is None else torch.where(mask, given.detach(), zero) for given in (old, teacher))
    divergence = sampled_divergence(settings.divergence, s, t) if soft is None else torch.where(mask, soft, zero)
    return torch.where(mask, token_weights(settings, s, t) * ratios(settings, s, o) * divergence, zero)


def token_weights(settings: InternalizationSettings, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """(rows, tokens) w_token, without gradient.

    Raises:
        ConfigError: `token_weight` is a path that names no function.
        ValueError: its function returned another shape, or a negative number.
    """
    s, t = student.detach(), teacher.detach()
    known = {
        "one": lambda s, t: torch.ones_like(s),
        "shift": lambda s, t: (t - s).clamp(0.0, settings.shift_cap),
        "gate": lambda s, t: torch.sigmoid(settings.gate_slope * (t - s)),
    }
    weights = named(f"{BLOCK}.token_weight", settings.token_weight, known)(s, t).detach()
    if settings.token_weight not in known and (weights.shape != s.shape or bool((weights < 0).any())):
        raise ValueError(
            f"{BLOCK}.token_weight={settings.token_weight!r}: returned shape {tuple(weights.shape)} and least weight "
            f"{float(weights.min())} for log-probabilities of shape {tuple(s.shape)}; return weights >= 0 of that shape"
        )
    return weights


def ratios(settings: InternalizationSettings, student: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """(rows, tokens) min(exp(s - o), ratio_cap); 1 without a cap."""
    if settings.ratio_cap is None:
        return torch.ones_like(student)
    ratio = (student - old).clamp(max=math.log(settings.ratio_cap)).exp()
    return ratio.detach() if settings.ratio_detached else ratio


def action_factors(settings: InternalizationSettings, action: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """(rows, tokens) action_factor on the action's tokens, 1 on others."""
    ones = torch.ones(like.shape, device=like.device)
    if settings.action_factor == 1:
        return ones
    if action is None:
        raise ValueError(f"token_terms: action_factor={settings.action_factor} needs `action`, the action's tokens")
    return torch.where(action.bool(), settings.action_factor, ones)


def row_weights(
    settings: InternalizationSettings,
    advantage: torch.Tensor,
    gap: torch.Tensor | None,
    norm: str,
    success_reward: float,
) -> torch.Tensor:
    """w_row: (rows, tokens), or (rows, 1)."""
    if settings.row_weight == "one" or not settings.advantage_weights:
        return torch.ones_like(advantage)
    if settings.row_weight in ("advantage", "return"):
        scale, clip = settings.scale_and_clip(norm, success_reward)
        return (advantage / scale).clamp(0.0, clip)
    if gap is None:
        raise ValueError("token_terms: row_weight=gap needs `gap`, Delta of each row's group")
    return (gap / settings.gap_scale).clamp(0.0, settings.gap_clip)[:, None].to(advantage.dtype)


def soft_divergence(
    settings: InternalizationSettings,
    student_top: torch.Tensor | None,
    teacher_top: torch.Tensor | None,
    mask: torch.Tensor,
) -> torch.Tensor:
    """(rows, tokens) the divergence of two distributions, given their log-probabilities of the same tokens."""
    if student_top is None or teacher_top is None:
        raise ValueError(f"token_terms: target={settings.target} needs `student_top` and `teacher_top`")
    if student_top.shape != teacher_top.shape:
        raise ValueError(
            f"token_terms: student_top has shape {tuple(student_top.shape)}, teacher_top {tuple(teacher_top.shape)}"
        )
    tops = student_top, teacher_top.detach()
    student_top, teacher_top = (torch.where(mask[..., None], top, torch.zeros_like(top)) for top in tops)
    if settings.target == "top_k" and settings.tail:
        student_top, teacher_top = add_tail(student_top), add_tail(teacher_top)
    return distribution_divergence(settings.divergence, student_top, teacher_top, settings.jsd_alpha)


def _factors(
    settings: InternalizationSettings,
    coefficient: float,
    advantage: torch.Tensor,
    shift: torch.Tensor,
    mask: torch.Tensor,
    group: torch.Tensor | None,
) -> torch.Tensor:
    """(rows, tokens) the factor of the advantage."""
    edge = settings.factor_clip
    if settings.factor_level == "token":
        ratio = (advantage.sign() * shift).clamp(-20, 20).exp().clamp(1 - edge, 1 + edge)
        return (1 - coefficient) + coefficient * ratio
    tokens = mask.sum(1).clamp(min=1)
    row_advantage = (advantage * mask).sum(1) / tokens
    q = torch.expm1((row_advantage.sign() * (shift * mask).sum(1) / tokens).clamp(-20, 20))
    groups = torch.zeros_like(tokens) if group is None else group
    factor = torch.ones_like(q)
    for number in groups.unique():
        members = (groups == number) & mask.any(1)
        both = bool((row_advantage[members] > 0).any()) and bool((row_advantage[members] < 0).any())
        size = q[members].abs().mean()
        if both and size > 0:
            share = (q[members] / size).clamp(-edge, edge)
            factor[members] = (1 + coefficient * share).clamp(min=LEAST_ROW_FACTOR)
    return factor[:, None]
