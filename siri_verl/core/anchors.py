# SPDX-License-Identifier: Apache-2.0
"""Anchor states that read almost alike, grouped by similarity of their text."""

from __future__ import annotations

import math
from collections.abc import Hashable
from difflib import SequenceMatcher
from typing import Any

from siri_verl.core.rows import FloatRows, IntRows


def similar_anchors(
    groups: IntRows, steps: FloatRows, anchors: list[Any], threshold: float, kept: IntRows
) -> list[Hashable]:
    """The representative of each row's anchor inside its group: (rows,).

    Anchors of a group are taken in order of their first step, equal steps in order of text (so that the order of
    the rows does not matter). Each joins the first representative whose `difflib.SequenceMatcher.ratio` reaches
    `threshold`, or becomes one. `kept` numbers the rows in errors.

    Raises:
        ValueError: an anchor is not text.
    """
    for i, text in enumerate(anchors):
        if not isinstance(text, str):
            raise ValueError(
                f"gigpo: similarity={threshold} compares text, but anchor of row {kept[i]} is {type(text).__name__}; "
                "use similarity=None or text anchors"
            )
    first: dict[tuple[int, str], float] = {}
    for g, text, t in zip(groups.tolist(), anchors, steps.tolist(), strict=True):
        first[g, text] = min(t, first.get((g, text), math.inf))
    chosen: dict[tuple[int, str], str] = {}
    representatives: dict[int, list[tuple[str, SequenceMatcher[str]]]] = {}
    for g, text in sorted(first, key=lambda key: (key[0], first[key], key[1])):
        known = representatives.setdefault(g, [])
        for representative, matcher in known:
            matcher.set_seq1(text)
            # The two cheap ratios are upper bounds of the real one.
            if (
                matcher.real_quick_ratio() >= threshold
                and matcher.quick_ratio() >= threshold
                and matcher.ratio() >= threshold
            ):
                chosen[g, text] = representative
                break
        else:
            known.append((text, SequenceMatcher(None, "", text)))
            chosen[g, text] = text
    return [chosen[key] for key in zip(groups.tolist(), anchors, strict=True)]
