# SPDX-License-Identifier: Apache-2.0
"""Turns inside rows of whole trajectories: found where they are, and given exactly what rows of their own would get."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.segments import find_segments, runs, spread
from siri_verl.core.turns import read_turns

MASKS = st.lists(st.lists(st.integers(0, 1), max_size=30), max_size=6)


@given(st.lists(st.integers(0, 1), max_size=40))
def test_runs_cover_every_one_and_no_zero(mask):
    found = runs(mask)
    covered = [i for start, end in found for i in range(start, end)]
    assert covered == [i for i, m in enumerate(mask) if m]
    # maximal: a zero, or the row's edge, on both sides
    for start, end in found:
        assert start == 0 or not mask[start - 1]
        assert end == len(mask) or not mask[end]


@given(MASKS)
def test_rows_are_looked_at_one_by_one(masks):
    found = find_segments(masks)
    assert [(r, s, e) for r, s, e in zip(found.row, found.start, found.end, strict=True)] == [
        (row, start, end) for row, mask in enumerate(masks) for start, end in runs(mask)
    ]


@given(MASKS, st.integers(0, 5))
def test_spread_writes_each_value_on_its_turn_alone(masks, padding):
    found = find_segments(masks)
    length = max((len(mask) for mask in masks), default=0) + padding
    values = np.arange(1.0, len(found) + 1)
    out = spread(values, found, (len(masks), length))
    for row, mask in enumerate(masks):
        assert ((out[row, : len(mask)] != 0) == np.array(mask, dtype=bool)).all() and not out[row, len(mask) :].any()
    for value, row, start, end in zip(values, found.row, found.start, found.end, strict=True):
        assert (out[row, start:end] == value).all()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"mask of row 1 has shape \(1, 2\)"):
        find_segments([[1], [[1, 0]]])
    with pytest.raises(ValueError, match="values for 2 turns; give one per turn"):
        spread([1.0], find_segments([[1, 0, 1]]), (1, 3))


TURN = st.tuples(
    st.integers(1, 4),  # tokens of the reply
    st.integers(1, 3),  # tokens of the answer after it
    st.sampled_from("abc"),  # anchor
    st.floats(-5, 5),
    st.booleans(),
)
TRAJECTORIES = st.lists(
    st.tuples(st.sampled_from("xy"), st.lists(TURN, min_size=1, max_size=5)), min_size=1, max_size=8
)


@settings(max_examples=200)
@given(
    TRAJECTORIES,
    st.sampled_from(["mean", "mean_std"]),
    st.sampled_from(["per_step", "per_trajectory"]),
    st.floats(0, 1),
    st.floats(0, 2),
)
def test_a_trajectory_in_one_row_gets_what_its_turns_get_as_rows(trajectories, norm, stats, gamma, weight):
    # one row per turn
    columns = {name: [] for name in ("group", "trajectory", "turn", "anchor", "reward", "valid")}
    # one row per trajectory
    masks = []
    for number, (group, turns) in enumerate(trajectories):
        mask = []
        for step, (reply, answer, anchor, reward, valid) in enumerate(turns):
            for name, value in zip(columns, (group, number, step, anchor, reward, valid), strict=True):
                columns[name].append(value)
            mask += [1] * reply + [0] * answer
        masks.append(mask)
    options = GigpoSettings(norm=norm, episode_stats=stats, gamma=gamma, step_weight=weight)
    result = gigpo(read_turns(**columns), options)
    found = find_segments(masks)
    length = max(map(len, masks))
    tokens = spread(result.total, found, (len(masks), length))
    position = 0
    for number, (_, turns) in enumerate(trajectories):
        place = 0
        for reply, answer, *_ in turns:
            assert (tokens[number, place : place + reply] == result.total[position]).all()
            assert not tokens[number, place + reply : place + reply + answer].any()
            place += reply + answer
            position += 1
    assert position == len(result.total) == len(found)
