# SPDX-License-Identifier: Apache-2.0
"""Metrics of a batch against values counted by hand."""

import numpy as np
import pytest

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.statistics import wilson
from siri_verl.core.turns import read_turns
from siri_verl.training.metrics import (
    IncompleteBatchError,
    advantage_metrics,
    by_category,
    check_sessions,
    rollout_metrics,
    validation_metrics,
)
from siri_verl.training.step_table import StepTable


def table(episodes, padding=0):
    """`episodes`: name -> (turn rewards, fields of the episode)."""
    keys, rows = [], []
    for name, (rewards, fields) in episodes.items():
        for turn, reward in enumerate(rewards):
            keys.append(f"{name}_{turn}")
            rows.append({"anchor": f"s{turn}", "turn_reward": reward, "valid": turn != 1, **fields})
    tags = [{}] * len(keys) + [{"is_padding": True}] * padding
    keys += [f"pad_{i}_0" for i in range(padding)]
    return StepTable.build(keys, tags, rows + [{}] * padding)


WON = {"success": True, "score": 1.0, "category": "shoes"}
LOST = {"success": False, "score": 0.25, "category": "shoes", "status": "truncated"}
EPISODES = {
    "u_0": ([0.0, 10.0], WON),
    "u_1": ([0.0, 0.0, 0.0], {**LOST, "history_dropped": 2, "admissible": False}),
    "v_0": ([0.0], {**LOST, "category": ""}),
    "v_1": ([0.0, 0.0], {**LOST, "status": "environment_lost"}),
}


def test_shares_count_episodes_or_turns_and_never_padding():
    metrics = rollout_metrics(table(EPISODES, padding=3))
    assert metrics == rollout_metrics(table(EPISODES))
    expected = {
        "siri/success": 1 / 3,  # of the three episodes that kept their environment, like all but the statuses
        "siri/score": (1 + 2 * 0.25) / 3,
        "siri/return": 10 / 3,
        "siri/turns": 6 / 3,
        "siri/rows": 8,
        "siri/valid_share": 4 / 6,  # the second turn of two episodes is malformed
        "siri/admissible_share": 3 / 6,
        "siri/history_dropped_share": 3 / 6,
        "siri/excluded_share": 1 / 4,
        "siri/status/terminated": 1 / 4,
        "siri/status/truncated": 2 / 4,
        "siri/status/environment_lost": 1 / 4,
        "siri/groups_without_signal": 1 / 2,
        "siri/success/shoes": 1 / 2,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert "siri/success/" not in metrics, "episodes without a category have no share of their own"


def test_the_spread_over_nodes_and_servers_counts_turns():
    places = {"u_0": ("a", "0"), "u_1": ("a", "1"), "v_0": ("b", "1"), "v_1": ("a", "1")}
    episodes = {
        name: (rewards, {**fields, "node": places[name][0], "server": places[name][1]})
        for name, (rewards, fields) in EPISODES.items()
    }
    metrics = rollout_metrics(table(episodes, padding=2))
    assert metrics["siri/rollout/nodes"] == metrics["siri/rollout/servers"] == 2
    assert metrics["siri/rollout/node_share_min"] == 1 / 8 and metrics["siri/rollout/server_share_min"] == 2 / 8
    unknown = rollout_metrics(table(EPISODES))
    assert not any(name.startswith("siri/rollout/") for name in unknown), "nothing is said where rows do not say it"


def test_a_batch_in_which_no_episode_counts_is_an_error():
    lost = {"u_0": ([0.0], {**LOST, "status": "environment_lost"})}
    with pytest.raises(IncompleteBatchError, match="lost its environment"):
        rollout_metrics(table(lost))


def test_missing_trajectories_are_counted():
    keys = table(EPISODES).keys
    check_sessions(keys, 4)
    with pytest.raises(IncompleteBatchError, match="4 of 6 trajectories"):
        check_sessions(keys, 6)


def test_advantage_metrics_leave_out_rows_that_do_not_count():
    t = table(EPISODES, padding=2)
    turns = read_turns(t.group, t.trajectory, t.turn, t.anchor, t.reward, t.valid, padding=~t.usable)
    result = gigpo(turns, GigpoSettings(norm="mean"))
    metrics = advantage_metrics(result, t)
    rows = np.flatnonzero(t.usable)
    assert len(rows) == 6
    assert metrics["siri/advantage/episode_abs"] == pytest.approx(np.abs(result.episode[rows]).mean())
    assert metrics["siri/advantage/zero_share"] == pytest.approx((result.total[rows] == 0).mean())
    # within group u the anchors s0 and s1 occur twice, s2 once; v's usable episode stands alone
    assert metrics["siri/step_group/size_mean"] == pytest.approx((2 + 2 + 2 + 2 + 1 + 1) / 6)
    assert metrics["siri/step_group/alone_share"] == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # p = 0: [0, z^2 / (n + z^2)], p = 1 mirrored; p = 1/2: 1/2 -+ z / 2 sqrt(n + z^2); z = 1.959964
    [(0, 16, 0.0, 0.19360768), (5, 10, 0.23659309, 0.76340691), (16, 16, 0.80639232, 1.0)],
)
def test_wilson_interval(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-7)


def test_validation_reports_success_with_its_interval_and_by_category():
    infos = {
        "success": [1.0, 0.0, 0.0, 1.0],
        "score": [1.0, 0.5, 0.0, 1.0],
        "turns": [3.0, 5.0, 5.0, 3.0],
        "valid_share": [1.0, 1.0, 0.5, 1.0],
        "category": ["a", "a", None, "b"],
        "reward": [10.0, 0.0, 0.0, 10.0],
    }
    metrics = validation_metrics(infos)
    low, high = wilson(2, 4)
    assert metrics == pytest.approx(
        {
            "siri/val/success": 0.5,
            "siri/val/success_low": low,
            "siri/val/success_high": high,
            "siri/val/episodes": 4,
            "siri/val/excluded_share": 0,
            "siri/val/score": 0.625,
            "siri/val/turns": 4.0,
            "siri/val/valid_share": 0.875,
            "siri/val/success/a": 0.5,
            "siri/val/success/b": 1.0,
            "siri/val/episodes/a": 2,
            "siri/val/episodes/b": 1,
        }
    )
    lost = {name: [*values, values[0]] for name, values in infos.items()} | {
        "status": ["terminated"] * 4 + ["environment_lost"]
    }
    assert validation_metrics(lost) == pytest.approx({**metrics, "siri/val/excluded_share": 0.2})
    with pytest.raises(IncompleteBatchError, match="every one lost its environment"):
        validation_metrics(lost | {"status": ["environment_error"] * 5})
    assert validation_metrics({"reward": [1.0]}) == {}, "another agent loop's validation has no success column"


def test_validation_over_several_splits_is_reported_for_each_and_by_category_within_it():
    infos = {
        "success": [1.0, 0.0, 0.0, 1.0, 1.0],
        "category": ["heat", "cool", "heat", "heat", "heat"],
        "split": ["seen", "seen", "unseen", "unseen", "unseen"],
    }
    metrics = validation_metrics(infos)
    low, high = wilson(2, 3)
    splits = {name.removeprefix("siri/val/split/"): v for name, v in metrics.items() if "/split/" in name}
    assert splits.pop("seen/success_low") < 0.5 < splits.pop("seen/success_high")
    assert splits == pytest.approx(
        {
            "seen/success": 0.5,
            "seen/episodes": 2,
            "seen/success/heat": 1.0,
            "seen/success/cool": 0.0,
            "unseen/success": 2 / 3,
            "unseen/episodes": 3,
            "unseen/success_low": low,
            "unseen/success_high": high,
            "unseen/success/heat": 2 / 3,
        }
    )
    assert metrics["siri/val/success/heat"] == 0.75
    one = validation_metrics({**infos, "split": ["seen"] * 5})
    assert not [name for name in one if "/split/" in name], "one split is the whole"


def test_by_category_names_every_category_once():
    assert by_category(["b", "a", "b"], np.array([1.0, 0.0, 0.0]), "p") == {"p/a": 0.0, "p/b": 0.5}
