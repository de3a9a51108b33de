# SPDX-License-Identifier: Apache-2.0
"""SPEAR's baseline of replayed rows: the median of recent groups' mean returns.

A reply that was better than its group when it was sampled may be ordinary for the policy that learns it again. Its
advantage is therefore computed anew at each use, against the groups of all recent iterations:

    A' = R - median of the group means                                       norm=mean
    A' = (R - median of the group means) / median of the group spreads       norm=mean_std

Source: TencentYoutuResearch/SPEAR 7e84315.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

import numpy as np

from siri_verl.core.rows import FloatRows, factorize, numbers

EPSILON = 1e-6


class ReturnBaseline:
    """Mean returns and spreads (population standard deviations) of the last groups.

    Args:
        size: groups kept.

    Attributes:
        groups: (mean, spread) of each, oldest first.
    """

    def __init__(self, size: int):
        self.groups: deque[tuple[float, float]] = deque(maxlen=size)

    def restore(self, groups: Sequence[Sequence[float]]) -> None:
        """Take the (mean, spread) of earlier groups, as a checkpoint holds them."""
        self.groups.clear()
        self.groups.extend((mean, std) for mean, std in groups)

    def add(self, group: Sequence[Hashable], returns: Sequence[float]) -> None:
        """Add the groups of an iteration.

        Args:
            group: (trajectories,) the group of each.
            returns: (trajectories,) R.
        """
        codes, names = factorize("return baseline: group", list(group))
        values = numbers("return baseline: returns", returns)
        for code in range(len(names)):
            members = values[codes == code]
            self.groups.append((float(members.mean()), float(members.std())))

    def advantages(self, returns: Sequence[float], norm: str) -> FloatRows:
        """(rows,) A' of returns under the normalisation `mean` or `mean_std`.

        Raises:
            ValueError: no group was added yet.
        """
        if not self.groups:
            raise ValueError("return baseline: no group yet; `add` the iteration's groups first")
        mean, std = np.median(np.array(self.groups), axis=0)
        centred = numbers("return baseline: returns", returns) - mean
        return centred / (std + EPSILON) if norm == "mean_std" else centred
