# SPDX-License-Identifier: Apache-2.0
"""Whether two columns of a warm start's rows depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def permutation_p(labels: Sequence[object], groups: Sequence[object], draws: int = 300) -> float:
    """p-value of independence: share of shuffles whose chi-square statistic is at least the observed one.

    Args:
        labels, groups: one value per row.
        draws: shuffles; the smallest p is 1 / (draws + 1).
    """
    kinds, label_codes = np.unique(labels, return_inverse=True)
    groups_found, group_codes = np.unique(groups, return_inverse=True)
    width = len(groups_found)

    def statistic(codes: np.ndarray) -> float:
        table = np.bincount(codes * width + group_codes, minlength=len(kinds) * width).reshape(-1, width)
        expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
        return float(((table - expected) ** 2 / expected).sum())

    rng = np.random.default_rng(0)
    seen = statistic(label_codes)
    return (1 + sum(statistic(rng.permutation(label_codes)) >= seen for _ in range(draws))) / (1 + draws)
