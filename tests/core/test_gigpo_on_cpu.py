# SPDX-License-Identifier: Apache-2.0
"""GiGPO against the slow reference, and its invariances."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gigpo_reference import advantages, reference

# Rewards on a grid keep float noise far from the tolerances compared with here.
REWARDS = st.sampled_from([0.0, 0.0, 0.0, 1.0, 10.0, -0.5, 0.1, 0.2])
ANCHORS = st.sampled_from(["home", "home page", "results 1", "results 2", "item A", "item B", "item A red"])


@st.composite
def batches(draw):
    """Groups of at least two trajectories of uneven lengths, states revisited, rows shuffled."""
    rows = []
    for g in range(draw(st.integers(1, 3))):
        for t in range(draw(st.integers(2, 4))):
            for s in range(draw(st.integers(1, 5))):
                rows.append(
                    dict(
                        group=f"task{g}",
                        trajectory=f"run{t}",
                        turn=s,
                        anchor=draw(ANCHORS),
                        reward=draw(REWARDS),
                        valid=draw(st.booleans()),
                    )
                )
    return draw(st.permutations(rows))


OPTIONS = st.fixed_dictionaries(
    dict(
        gamma=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
        step_weight=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        norm=st.sampled_from(["mean", "mean_std"]),
        episode_stats=st.sampled_from(["per_step", "per_trajectory"]),
        invalid_penalty=st.sampled_from([0.0, 0.1]),
        similarity=st.sampled_from([None, 0.6, 0.8, 1.0]),
    )
)


@settings(max_examples=300, deadline=None)
@given(batches(), OPTIONS)
def test_agrees_with_the_slow_reference(rows, options):
    got = advantages(rows, **options)
    episode, step, total = reference(rows, **options)
    np.testing.assert_allclose(got.episode, episode, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got.step, step, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got.total, total, rtol=1e-9, atol=1e-9)


@settings(max_examples=150, deadline=None)
@given(batches(), OPTIONS, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(rows, options, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    straight = advantages(rows, **options)
    shuffled = advantages([rows[i] for i in order], **options)
    np.testing.assert_allclose(shuffled.total, straight.total[order], rtol=1e-10, atol=1e-10)


@settings(max_examples=150, deadline=None)
@given(batches(), OPTIONS)
def test_total_is_episode_plus_weighted_step(rows, options):
    got = advantages(rows, **options)
    np.testing.assert_array_equal(got.total, got.episode + options["step_weight"] * got.step)


@settings(max_examples=150, deadline=None)
@given(batches(), OPTIONS, st.floats(-5, 5))
def test_a_constant_added_to_every_return_of_a_task_changes_nothing_in_the_episode_part(rows, options, shift):
    last = {}
    for i, row in enumerate(rows):
        key = row["group"], row["trajectory"]
        if key not in last or row["turn"] > rows[last[key]]["turn"]:
            last[key] = i
    moved = [dict(row, reward=row["reward"] + shift) if i in last.values() else row for i, row in enumerate(rows)]
    # 1e-6 beside a std of the same order is where float noise could show: none of the grid's groups is that flat.
    np.testing.assert_allclose(advantages(moved, **options).episode, advantages(rows, **options).episode, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(batches(), OPTIONS, st.sampled_from([0.5, 3.0]))
def test_scaling_rewards_and_penalty_scales_mean_advantages(rows, options, factor):
    options = dict(options, norm="mean")
    scaled = [dict(row, reward=factor * row["reward"]) for row in rows]
    more = dict(options, invalid_penalty=factor * options["invalid_penalty"])
    np.testing.assert_allclose(advantages(scaled, **more).total, factor * advantages(rows, **options).total, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(batches(), OPTIONS)
def test_groups_do_not_see_each_other(rows, options):
    alone = [i for i, row in enumerate(rows) if row["group"] == "task0"]
    together = advantages(rows, **options)
    np.testing.assert_allclose(together.total[alone], advantages([rows[i] for i in alone], **options).total, atol=1e-10)


@settings(max_examples=100, deadline=None)
@given(batches(), OPTIONS)
def test_per_step_advantages_sum_to_zero_over_each_group_and_state(rows, options):
    got = advantages(rows, **dict(options, episode_stats="per_step", norm="mean"))
    if any(len([r for r in rows if r["group"] == g]) < 2 for g in {r["group"] for r in rows}):
        return
    for g in {row["group"] for row in rows}:
        assert abs(got.episode[[row["group"] == g for row in rows]].sum()) < 1e-9
    for code in np.unique(got.step_group):
        assert abs(got.step[got.step_group == code].sum()) < 1e-9


@settings(max_examples=100, deadline=None)
@given(batches(), OPTIONS, st.integers(0, 5))
def test_padding_rows_enter_no_statistic(rows, options, pads):
    pad = dict(group=None, trajectory=None, turn=float("nan"), anchor=None, reward=float("nan"), valid=False)
    padded = rows[:1] + [pad] * pads + rows[1:]
    mask = [row is pad for row in padded]
    got = advantages(padded, padding=mask, **options)
    keep = ~np.asarray(mask)
    np.testing.assert_array_equal(got.total[keep], advantages(rows, **options).total)
    assert not got.total[~keep].any() and (got.step_group[~keep] == -1).all()
