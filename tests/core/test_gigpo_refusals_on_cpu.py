# SPDX-License-Identifier: Apache-2.0
"""What GiGPO refuses: bad rows, columns and options, each by name."""

from __future__ import annotations

import pytest
from support.gigpo_reference import advantages, columns, rows_of

from siri_verl.core.turns import read_turns

GOOD = rows_of(("t", 0, 0, "a", 1, True), ("t", 1, 0, "a", 0, True))


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(anchor=None), "anchor of row 1 is missing"),
        (dict(anchor=float("nan")), "anchor of row 1 is missing"),
        (dict(anchor=["a"]), "anchor of row 1 is not hashable"),
        (dict(group=None), "group of row 1 is missing"),
        (dict(reward=float("nan")), "reward of row 1 is nan"),
        (dict(reward=float("inf")), "reward of row 1 is inf"),
        (dict(reward="ten"), "reward must be one number per row"),
        (dict(turn=float("nan")), "turn of row 1 is nan"),
        (dict(valid=None), "valid of row 1 is None"),
        (dict(trajectory=0), "rows 0 and 1 are both turn 0 of trajectory 0"),
    ],
)
def test_bad_rows_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        advantages([GOOD[0], dict(GOOD[1], **change)])


def test_bad_rows_are_named_by_their_place_in_the_padded_batch():
    rows = [GOOD[0], dict(GOOD[1], anchor=None), dict(GOOD[1], anchor=None)]
    with pytest.raises(ValueError, match="anchor of row 2 is missing"):
        advantages(rows, padding=[False, True, False])


def test_no_anchor_column_is_an_error():
    given_columns = dict(columns(GOOD), anchor=None)
    with pytest.raises(ValueError, match="anchor is None.*agent loop must state the anchor"):
        read_turns(**given_columns)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(gamma=1.5), "gamma=1.5"),
        (dict(gamma=float("nan")), "gamma=nan"),
        (dict(step_weight=-1.0), "step_weight=-1.0"),
        (dict(invalid_penalty=float("inf")), "invalid_penalty=inf"),
        (dict(norm="std"), "norm='std': use one of mean, mean_std"),
        (dict(episode_stats="rows"), "episode_stats='rows'"),
        (dict(similarity=0.0), "similarity=0.0"),
        (dict(lone="skip"), "lone='skip'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        advantages(GOOD, **options)


def test_similarity_needs_text_anchors():
    with pytest.raises(ValueError, match="anchor of row 1 is tuple"):
        advantages([GOOD[0], dict(GOOD[1], anchor=("a", 1))], similarity=0.9)


def test_columns_of_unequal_length_are_named():
    with pytest.raises(ValueError, match="reward has 1 rows, group has 2"):
        read_turns(**dict(columns(GOOD), reward=[1.0]))


def test_empty_text_is_a_state_like_any_other():
    """A terminal prints nothing after a silent command."""
    rows = [("t", s, k, anchor, r, True) for s, r in ((0, 1), (1, 0)) for k, anchor in enumerate(("$", ""))]
    named = [("t", s, k, anchor or "silence", r, True) for _, s, k, anchor, r, _ in rows]
    assert advantages(rows_of(*rows)).total.tolist() == advantages(rows_of(*named)).total.tolist()
