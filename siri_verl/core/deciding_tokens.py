# SPDX-License-Identifier: Apache-2.0
"""Deciding tokens: the learned tokens that the skill makes much more probable.

Most tokens of a gated action have a high probability on the plain prompt as well, so their mean log-probability is near
0 while the few tokens that the skill decides are hardly known. Progress of internalization is therefore measured on
deciding tokens alone: those with log pi(y | skill prompt) - log pi(y | plain prompt) > log 2.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

DECIDING_GAIN = math.log(2)
"""The skill prompt raises the log-probability of a deciding token by more than this: it doubles the probability."""


def deciding_metrics(plain: ArrayLike, skill: ArrayLike) -> dict[str, float]:
    """Metrics of the deciding tokens among the learned tokens of a step.

    Args:
        plain: (tokens,) log-probabilities on the plain prompts, before the update.
        skill: (tokens,) those of the same tokens on the skill prompts that they were sampled with.

    Returns:
        `deciding_tokens`, their count; `deciding_share` of the tokens; `deciding_plain_log_prob_mean` and
        `deciding_skill_log_prob_mean`, NaN without a deciding token.

    Raises:
        ValueError: the two have different shapes.
    """
    on_plain, on_skill = np.asarray(plain, dtype=np.float64), np.asarray(skill, dtype=np.float64)
    if on_plain.shape != on_skill.shape:
        raise ValueError(f"deciding tokens: plain has shape {on_plain.shape}, skill has {on_skill.shape}")
    deciding = on_skill - on_plain > DECIDING_GAIN
    some = bool(deciding.any())
    return {
        "deciding_tokens": float(deciding.sum()),
        "deciding_share": float(deciding.mean()) if deciding.size else 0.0,
        "deciding_plain_log_prob_mean": float(on_plain[deciding].mean()) if some else math.nan,
        "deciding_skill_log_prob_mean": float(on_skill[deciding].mean()) if some else math.nan,
    }
