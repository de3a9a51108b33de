# SPDX-License-Identifier: Apache-2.0
"""The self-imitation control: the same loss as internalization, on plain turns of positive advantage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siri_verl.core.rows import BoolRows, as_list, check_lengths, flags, numbers


def self_imitation_rows(
    plain: Sequence[bool], advantage: Sequence[float], tokens: Sequence[int], target_tokens: int, seed: int
) -> BoolRows:
    """Rows of the self-imitation control: plain turns of positive advantage, at random, up to a number of tokens.

    Rows are taken in a seeded random order; a row that would exceed the target is skipped.

    Args:
        plain: (rows,) the row belongs to a plain trajectory.
        advantage: (rows,) A.
        tokens: (rows,) tokens of the row's span.
        target_tokens: how many tokens the gate of the compared run let through.

    Returns:
        (rows,) bool; the chosen rows hold at most `target_tokens` tokens.
    """
    given = {"plain": plain, "advantage": advantage, "tokens": tokens}
    columns = {name: as_list(f"self imitation: {name}", column) for name, column in given.items()}
    rows = check_lengths("self imitation", columns)
    fits = flags("self imitation: plain", columns["plain"]) & (numbers("self imitation: advantage", advantage) > 0)
    chosen, left = np.zeros(rows, dtype=bool), int(target_tokens)
    for i in np.random.default_rng(seed).permutation(rows).tolist():
        count = int(columns["tokens"][i])
        if fits[i] and 0 < count <= left:
            chosen[i] = True
            left -= count
    return chosen
