# SPDX-License-Identifier: Apache-2.0
"""Divergences of teacher and student at a token: of the sampled token alone, or of two distributions.

Shapes: (rows, tokens) for log-probabilities of sampled tokens, (rows, tokens, K) for those of K tokens of the
vocabulary. Only the student has a gradient.
"""

from __future__ import annotations

import torch

TAIL_FLOOR = 1e-6
"""Least probability of the tail bucket: below it, rounding of 1 - sum p exceeds the tail itself."""
LOG_FLOOR = -100.0
"""Log-probabilities of distributions are raised to this: those of excluded tokens are -inf, whose gradient is NaN."""
LOG_RATIO_CAP = 20.0
"""Largest exponent of `k3`."""


def sampled_divergence(name: str, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """A one-sample estimate: `nll` -s, `forward` t - s, `k3` exp(min(t - s, 20)) - 1 - (t - s), `reverse` s - t;
    `surrogate` is -1, times the ratio.

    `nll` and `forward` have the same gradient. `k3` is verl's low_var_kl without its outer clamp.
    """
    if name == "nll":
        return -student
    if name == "surrogate":
        return -torch.ones_like(student)
    if name == "forward":
        return teacher - student
    if name == "reverse":
        return student - teacher
    if name == "k3":
        return (teacher - student).clamp(max=LOG_RATIO_CAP).exp() - 1 - (teacher - student)
    raise ValueError(f"divergence {name!r}: not of sampled tokens")


def add_tail(log_probs: torch.Tensor) -> torch.Tensor:
    """(rows, tokens, K + 1): the K tokens, and one bucket for all others."""
    tail = (1 - log_probs.exp().sum(-1, keepdim=True)).clamp(min=TAIL_FLOOR)
    return torch.cat([log_probs, tail.log()], dim=-1)


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """(rows, tokens) sum p (log p - log q) of log-probabilities."""
    return (p.exp() * (p - q)).sum(-1)


def distribution_divergence(
    name: str, student: torch.Tensor, teacher: torch.Tensor, alpha: float = 0.5
) -> torch.Tensor:
    """The divergence of two distributions over the same tokens.

    Args:
        name: `forward` KL(teacher, student); `reverse` KL(student, teacher); `jsd`, with the mixture
            M = alpha teacher + (1 - alpha) student: alpha KL(teacher, M) + (1 - alpha) KL(student, M).
        student: (rows, tokens, K) log-probabilities.
        teacher: the same of the teacher.
        alpha: of `jsd`.

    Returns:
        (rows, tokens).
    """
    student, teacher = student.clamp(min=LOG_FLOOR), teacher.clamp(min=LOG_FLOOR)
    if name == "forward":
        return _kl(teacher, student)
    if name == "reverse":
        return _kl(student, teacher)
    if name == "jsd":
        weights = torch.tensor([alpha, 1 - alpha], dtype=student.dtype, device=student.device).log()
        mixture = torch.logsumexp(torch.stack([teacher + weights[0], student + weights[1]]), dim=0)
        return alpha * _kl(teacher, mixture) + (1 - alpha) * _kl(student, mixture)
    raise ValueError(f"divergence {name!r}: not of distributions")
