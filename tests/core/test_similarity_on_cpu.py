# SPDX-License-Identifier: Apache-2.0
"""The similarity of anchors is difflib's ratio without its rule for frequent characters, at any length."""

from difflib import SequenceMatcher

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.similarity import Similarity, ratio
from siri_verl.core.turns import read_turns

TEXTS = st.text(alphabet="ab .#é", max_size=60)


def expected(a, b):
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


@given(TEXTS, TEXTS)
def test_the_ratio_is_difflibs(a, b):
    assert ratio(a, b) == expected(a, b)


@given(TEXTS, TEXTS, st.integers(2, 30), st.sampled_from([0.3, 0.5, 0.6, 0.8, 0.9, 1.0]))
def test_the_bounds_change_no_decision(a, b, copies, threshold):
    for x, y in ((a, b), (a * copies, b * copies), (a * copies, a * copies + b)):
        if len(x) + len(y) < 1200:
            assert Similarity(y).reaches(x, threshold) == (expected(x, y) >= threshold)


def grid(n, x, y):
    rows = [["#" if c in (0, n - 1) or r in (0, n - 1) else "." for c in range(n)] for r in range(n)]
    rows[y][x] = "@"
    return "\n".join("".join(row) for row in rows)


@pytest.mark.parametrize("n", [13, 14, 20, 40])
def test_long_anchors_that_differ_little_share_a_group(n):
    anchors = [grid(n, 3, 3), grid(n, 4, 3)]
    found = gigpo(read_turns("gg", "12", [0, 0], anchors, [0.0, 1.0], [True, True]), GigpoSettings(similarity=0.9))
    assert found.step_group_size.tolist() == [2, 2]


def test_long_anchors_that_differ_stay_apart():
    letters = np.random.default_rng(0).integers(97, 123, (3, 3000)).astype(np.uint8)
    anchors = [row.tobytes().decode() for row in letters]
    found = gigpo(
        read_turns("ggg", "123", [0] * 3, anchors, [0.0, 1.0, 0.0], [True] * 3), GigpoSettings(similarity=0.9)
    )
    assert found.step_group_size.tolist() == [1, 1, 1]
