# SPDX-License-Identifier: Apache-2.0
"""Step groups: the turns of one task that start from the same anchor state, or from states with similar text."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from siri_verl.core.rows import IntRows, factorize
from siri_verl.core.similarity import Similarity
from siri_verl.core.turns import Turns


def step_groups(turns: Turns, similarity: float | None = None) -> IntRows:
    """Code of each row's step group: (R,), in order of appearance.

    Args:
        turns: the turns of a batch.
        similarity: None groups equal anchors; a ratio in (0, 1] groups similar ones (`similar_anchors`).
    """
    anchors: Sequence[Hashable] = turns.anchor_R.tolist()
    if similarity is not None:
        anchors = similar_anchors(turns, similarity)
    return factorize("gigpo: anchor", list(zip(turns.group_R.tolist(), anchors, strict=True)))[0]


def similar_anchors(turns: Turns, threshold: float) -> list[str]:
    """The representative of each row's anchor inside its group: (R,).

    The anchors of a group are taken in order of their first turn, those of equal turns in order of text, so that the
    order of rows does not matter. Each joins the first representative whose `siri_verl.core.similarity.ratio` reaches
    `threshold`, or becomes one.

    Raises:
        ValueError: an anchor is not text.
    """
    text_R: list[str] = []
    for row, code in zip(turns.row_R.tolist(), turns.anchor_R.tolist(), strict=True):
        text = turns.anchors[code]
        if not isinstance(text, str):
            raise ValueError(
                f"gigpo: similarity={threshold} compares text, but anchor of row {row} is {type(text).__name__}; "
                "use similarity=None or text anchors"
            )
        text_R.append(text)
    group_R = turns.group_R.tolist()
    first: dict[tuple[int, str], float] = {}
    for group, text, turn in zip(group_R, text_R, turns.turn_R.tolist(), strict=True):
        first[group, text] = min(turn, first.get((group, text), math.inf))
    chosen: dict[tuple[int, str], str] = {}
    representatives: dict[int, list[Similarity]] = {}
    for group, text in sorted(first, key=lambda key: (key[0], first[key], key[1])):
        known = representatives.setdefault(group, [])
        for representative in known:
            if representative.reaches(text, threshold):
                chosen[group, text] = representative.text
                break
        else:
            known.append(Similarity(text))
            chosen[group, text] = text
    return [chosen[key] for key in zip(group_R, text_R, strict=True)]
