# SPDX-License-Identifier: Apache-2.0
"""The baseline of replayed rows on hand-made groups."""

import json

import numpy as np
import pytest

from siri_verl.core.return_baseline import ReturnBaseline


def test_advantages_are_returns_minus_the_median_of_group_means():
    baseline = ReturnBaseline(10)
    baseline.add(["a", "a", "b", "b", "c", "c"], [0, 10, 0, 0, 10, 10])  # means 5, 0, 10
    assert baseline.advantages([10, 0], "mean").tolist() == [5, -5]
    baseline.add(["d", "d"], [10, 10])  # means 5, 0, 10, 10: median 7.5
    assert baseline.advantages([10, 0], "mean").tolist() == [2.5, -7.5]


def test_under_mean_std_they_are_divided_by_the_median_spread():
    baseline = ReturnBaseline(10)
    baseline.add(["a", "a", "b", "b", "c", "c"], [0, 10, 0, 2, 5, 5])  # spreads 5, 1, 0; means 5, 1, 5
    assert baseline.advantages([10], "mean_std") == pytest.approx([5 / (1 + 1e-6)])


def test_only_the_last_groups_count_and_they_survive_json():
    baseline = ReturnBaseline(2)
    for k in range(5):
        baseline.add([f"t{k}"], [k])
    assert [mean for mean, _ in baseline.groups] == [3, 4]
    read = ReturnBaseline(2)
    read.restore(json.loads(json.dumps([list(group) for group in baseline.groups])))
    assert np.array_equal(read.advantages([1.0], "mean"), baseline.advantages([1.0], "mean"))


def test_without_a_group_there_is_no_baseline():
    with pytest.raises(ValueError, match="no group yet"):
        ReturnBaseline(2).advantages([1.0], "mean")
