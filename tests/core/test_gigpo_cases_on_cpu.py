# SPDX-License-Identifier: Apache-2.0
"""GiGPO in cases computed by hand: statistics, constant groups, penalties, revisited and similar states."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
import pytest
from support.gigpo_reference import advantages, columns, rows_of

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.returns import discounted_returns, trajectory_returns
from siri_verl.core.turns import read_turns


def test_hand_computed_example():
    """Two runs of one task, gamma .5: returns 10 and 0, step returns [5, 10] and [0, 0], one shared state."""
    rows = rows_of(
        ("t", 0, 0, "home", 0, True),
        ("t", 0, 1, "item", 10, True),
        ("t", 1, 0, "home", 0, True),
        ("t", 1, 1, "x", 0, False),
    )
    got = advantages(rows, gamma=0.5)
    mean = (10 + 10 + 0 - 0.1) / 4
    np.testing.assert_allclose(got.episode, [10 - mean, 10 - mean, -mean, -0.1 - mean])
    np.testing.assert_allclose(got.step, [2.5, 0, -2.5, 0])
    np.testing.assert_array_equal(got.trajectory_return, [10, 10, 0, 0])
    np.testing.assert_array_equal(got.step_return, [5, 10, 0, 0])
    np.testing.assert_array_equal(got.step_group_size, [2, 1, 2, 1])


def test_statistics_per_trajectory_do_not_weigh_long_trajectories_more():
    rows = rows_of(*(("t", 0, k, f"a{k}", 0, True) for k in range(3)), ("t", 1, 0, "b", 10, True))
    np.testing.assert_allclose(advantages(rows).episode, [-2.5, -2.5, -2.5, 7.5])
    np.testing.assert_allclose(advantages(rows, episode_stats="per_trajectory").episode, [-5, -5, -5, 5])


@pytest.mark.parametrize("episode_stats", ["per_step", "per_trajectory"])
def test_a_group_of_one_row_gets_the_raw_score_or_zero(episode_stats):
    rows = rows_of(("t", 0, 0, "a", 10, False))
    got = advantages(rows, episode_stats=episode_stats)
    assert got.episode.tolist() == [9.9]
    assert got.step.tolist() == [0.0]
    assert advantages(rows, episode_stats=episode_stats, lone="zero").total.tolist() == [0.0]


@pytest.mark.parametrize("norm", ["mean", "mean_std"])
@pytest.mark.parametrize("episode_stats", ["per_step", "per_trajectory"])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 10.0, 9.9, 1e6 + 0.1])
def test_a_constant_group_gives_exactly_zero(norm, episode_stats, value):
    rows = rows_of(*(("t", i, 0, "a", value, True) for i in range(7)))
    got = advantages(rows, norm=norm, episode_stats=episode_stats)
    assert not got.episode.any() and not got.step.any()


def test_equal_returns_summed_in_different_orders_count_as_constant():
    """0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in the last bit; divided by 1e-6 that would not be nothing."""
    rows = rows_of(
        *(("t", 0, k, f"a{k}", r, True) for k, r in enumerate([0.1, 0.2, 0.3])),
        *(("t", 1, k, f"b{k}", r, True) for k, r in enumerate([0.3, 0.2, 0.1])),
    )
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    assert not advantages(rows, norm="mean_std").episode.any()


def test_a_penalised_row_of_an_otherwise_constant_group_stays_small():
    rows = rows_of(*(("t", i, 0, f"a{i}", 10.0, i != 0) for i in range(4)))
    got = advantages(rows, norm="mean_std", episode_stats="per_trajectory")
    np.testing.assert_allclose(got.episode, [-0.1, 0, 0, 0], atol=1e-12)


def test_one_trajectory_revisiting_a_state_puts_several_rows_in_the_step_group():
    rows = rows_of(
        ("t", 0, 0, "a", 0, True), ("t", 0, 1, "b", 0, True), ("t", 0, 2, "a", 10, True), ("t", 1, 0, "c", 0, True)
    )
    got = advantages(rows, gamma=0.5)
    assert got.step_group_size.tolist() == [2, 1, 2, 1]
    assert got.step[0] < 0 < got.step[2], "the earlier visit has the lower discounted return"


def test_the_penalty_does_not_travel_to_earlier_turns():
    good = rows_of(*(("t", i, s, f"s{s}", 10.0 * s, True) for i in range(2) for s in range(2)))
    bad = [dict(row, valid=not (row["trajectory"] == 0 and row["turn"] == 1)) for row in good]
    before, after = advantages(good), advantages(bad)
    np.testing.assert_array_equal(after.step_return, before.step_return)
    np.testing.assert_allclose(after.step - before.step, [0, -0.05, 0, 0.05])
    np.testing.assert_allclose(after.episode - before.episode, [0.025, -0.075, 0.025, 0.025])


def test_weight_zero_is_grpo_per_turn():
    rows = rows_of(("t", 0, 0, "a", 10, True), ("t", 1, 0, "a", 0, True), ("t", 1, 1, "a", 1, True))
    got = advantages(rows, step_weight=0.0)
    np.testing.assert_array_equal(got.total, got.episode)
    assert got.step.any()


def test_gamma_one_makes_step_returns_equal_along_a_success():
    turns = read_turns(**columns(rows_of(*(("t", 0, k, "a", 10 * (k == 4), True) for k in range(5)))))
    assert set(discounted_returns(turns, gamma=1.0)) == {10.0}


def test_similar_anchors_share_a_step_group():
    rows = rows_of(
        ("t", 0, 0, "page one of results", 10, True),
        ("t", 1, 0, "page two of results", 0, True),
        ("t", 2, 0, "something else entirely", 3, True),
    )
    assert not advantages(rows).step.any()
    np.testing.assert_allclose(advantages(rows, similarity=0.8).step, [5, -5, 0])


def test_similarity_joins_the_first_representative_not_the_nearest():
    """The third text is nearer to the second, but the first representative already reaches the threshold."""
    texts = ["abcdefghij", "abcdefgxyz", "abcdefgxij"]
    assert (
        SequenceMatcher(None, texts[2], texts[1]).ratio() > 0.7
        and SequenceMatcher(None, texts[1], texts[0]).ratio() < 0.75
    )
    rows = rows_of(*(("t", i, i, text, float(i), True) for i, text in enumerate(texts)))
    got = advantages(rows, similarity=0.75)
    assert got.step_group[2] == got.step_group[0] != got.step_group[1]


def test_representatives_are_taken_in_order_of_step_not_of_text():
    """A chain a - b - c: whoever comes first is the representative the others are compared with."""
    a, b, c = "aaabbb", "bbbccc", "cccddd"

    def groups_of(*texts):
        rows = rows_of(*(("t", i, i, text, float(i), True) for i, text in enumerate(texts)))
        codes = advantages(rows, similarity=0.5).step_group
        return {text: int(code) for text, code in zip(texts, codes, strict=True)}

    middle_first = groups_of(b, a, c)
    assert middle_first[a] == middle_first[b] == middle_first[c]
    end_first = groups_of(a, b, c)
    assert end_first[a] == end_first[b] != end_first[c]


def test_trajectory_ids_may_repeat_in_other_groups_and_be_any_hashable():
    rows = rows_of(
        (("task", 1), frozenset({1}), 3, ("page", None), 1, True),
        (("task", 1), "b", 0, ("page", None), 0, True),
        ("task 2", "b", 0, 7, 0, 1),
        ("task 2", "c", 0, 7, 1, 0),
    )
    np.testing.assert_allclose(advantages(rows, invalid_penalty=0).total, [1, -1, -1, 1])


def test_columns_may_be_arrays_or_tensors():
    torch = pytest.importorskip("torch")
    lists = dict(group=[0, 0], trajectory=[0, 1], turn=[0, 0], anchor=["a", "a"], reward=[1.0, 0.0], valid=[True, True])
    arrays = {k: np.asarray(v, dtype=object if k == "anchor" else None) for k, v in lists.items()}
    tensors = {k: v if k == "anchor" else torch.tensor(v) for k, v in lists.items()}
    for given_columns in (lists, arrays, tensors):
        assert gigpo(read_turns(**given_columns), GigpoSettings()).total.tolist() == [1.0, -1.0]


def test_an_empty_batch_gives_empty_arrays():
    assert advantages([]).total.shape == (0,)


def test_the_result_is_frozen():
    with pytest.raises(AttributeError):
        advantages(rows_of(("t", 0, 0, "a", 1, True))).total = np.zeros(2)


def test_returns_by_hand():
    turns = read_turns(
        **columns(rows_of(
            ("t", "a", 2, "x", 4.0, True), ("t", "b", 0, "x", 7.0, True),
            ("t", "a", 0, "x", 1.0, True), ("t", "a", 1, "x", 2.0, True),
        ))
    )  # fmt: skip
    assert trajectory_returns(turns).tolist() == [7, 7, 7, 7]
    assert discounted_returns(turns, gamma=0.5).tolist() == [4, 7, 3, 4]
