# SPDX-License-Identifier: Apache-2.0
"""The report's numbers: which runs are one method, curves and areas over seeds, differences paired by seed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.report_run import make_run

from siri_verl.core.statistics import wilson
from siri_verl.report.comparisons import EPISODES, PAIRED, WELCH, difference_of_points, method_differences, welch
from siri_verl.report.curve import CurvePoint
from siri_verl.report.headline import headline
from siri_verl.report.methods import Method, differences, group_runs, method_name
from siri_verl.report.reader import Run, read_run, read_runs
from siri_verl.report.statistics import (
    OVER_EPISODES,
    OVER_SEEDS,
    area,
    common_budget,
    final_success,
    method_area,
    over_runs,
    success_band,
)
from siri_verl.skills.bank import SkillBank

BASE = {"algorithm.adv_estimator": "gigpo", "siri.phases.fixed": None, "siri.internalization.gate": True}


def run(name, folder, seed=None, curve=(), **config):
    given_settings = {**BASE, **{key.replace("__", "."): value for key, value in config.items()}}
    if seed is not None:
        given_settings["siri.seed"] = seed
    return Run(name, folder, {1: {}}, {}, SkillBank(), given_settings, [], list(curve))


def points(*values, every=100, steps=10):
    return [CurvePoint(i * steps, s, max(s - 0.1, 0), min(s + 0.1, 1), 50, i * every, {}) for i, s in enumerate(values)]


# ---- methods ---------------------------------------------------------------------------------------------------------


def test_seeds_names_and_places_do_not_make_a_method(tmp_path):
    runs = read_runs(
        [make_run(tmp_path / f"{m}_{s}", method=m, seed=s, steps=2) for m in ("siri", "grpo") for s in (2, 1)]
    )
    methods = group_runs(runs)
    assert [(m.name, m.seeds) for m in methods] == [("siri", [1, 2]), ("grpo", [1, 2])]
    assert differences(methods) == {
        "algorithm.adv_estimator": ["gigpo", "grpo"],
        "siri.phases.fixed": ["null", "warm_up"],
    }


def test_every_other_setting_makes_a_method_and_names_it(tmp_path):
    runs = [run("a", tmp_path, 1, lr=0.1), run("b", tmp_path, 1, lr=0.01), run("c", tmp_path, 2, lr=0.1)]
    methods = group_runs(runs)
    assert [(m.name, m.seeds) for m in methods] == [("siri (lr=0.1)", [1, 2]), ("siri (lr=0.01)", [1])]
    assert differences(methods) == {"lr": ["0.1", "0.01"]}
    many = [run(n, tmp_path, 1, lr=i / 10, batch=i, top_p=i / 10) for i, n in enumerate("xyz", start=1)]
    assert [m.name for m in group_runs(many)] == ["siri [x]", "siri [y]", "siri [z]"]
    together = group_runs([runs[1], runs[2]], group_by=["algorithm.adv_estimator"])
    assert [m.seeds for m in together] == [[1, 2]] and together[0].settings["lr"] == "0.01 or 0.1"


def test_paths_count_without_the_machine_they_lie_on(tmp_path):
    runs = [
        run(
            "a",
            tmp_path,
            1,
            model="/home/a/models/small",
            trainer__default_local_dir="runs/a",
            panel="runs/a/x.parquet",
        ),
        run(
            "b", tmp_path, 2, model="/other/models/small", trainer__default_local_dir="runs/b", panel="runs/b/x.parquet"
        ),
        run(
            "c", tmp_path, 3, model="/other/models/large", trainer__default_local_dir="runs/c", panel="runs/c/x.parquet"
        ),
    ]
    assert [[r.name for r in m.runs] for m in group_runs(runs)] == [["a", "b"], ["c"]]


def test_labels_name_methods_whatever_the_settings(tmp_path):
    runs = [run("siri_1", tmp_path, 1, lr=0.1), run("siri_2", tmp_path, 2, lr=0.2), run("other", tmp_path, 1)]
    methods = group_runs(runs, labels=[("ours", "siri_*")])
    assert [(m.name, m.seeds) for m in methods] == [("ours", [1, 2]), ("siri", [1])]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, "siri"),
        ({"siri__phases__fixed": "warm_up"}, "gigpo"),
        ({"siri__phases__fixed": "warm_up", "algorithm__adv_estimator": "grpo"}, "grpo"),
        ({"algorithm__adv_estimator": "grpo"}, "siri_grpo"),
        ({"siri__internalization__source": "self_imitation"}, "gigpo_self_imitation"),
        ({"siri__mining__random_skills": True}, "siri_random_skills"),
        ({"siri__phases__skip": ["internalization"]}, "siri_no_internalization"),
        ({"siri__internalization__gate": False}, "siri_no_gate"),
        ({"siri__internalization__advantage_weights": False}, "siri_no_advantage_weights"),
        ({"siri__control__skills_in_prompt": True, "siri__phases__skip": ["internalization"]}, "siri_skills_in_prompt"),
        ({"siri__method": "siri_no_gate", "siri__internalization__gate": False}, "siri_no_gate"),
        ({"siri__method": "mine", "siri__internalization__gate": False}, "mine"),
        ({"siri__method": "siri", "siri__phases__fixed": "warm_up"}, "gigpo"),
    ],
)
def test_names_of_methods_are_those_of_the_controls(tmp_path, config, name):
    assert method_name(run("x", tmp_path, 1, **config)) == name


def test_a_run_without_settings_stands_alone_under_its_own_name(tmp_path):
    folders = [make_run(tmp_path / name, seed=seed, steps=2) for name, seed in (("a", 1), ("b", 2))]
    for folder in folders:
        (folder / "config.yaml").unlink()
    methods = group_runs(read_runs(folders))
    assert [m.name for m in methods] == ["a", "b"] and differences(methods) == {}
    assert methods[0].runs[0].seed == 1, "from run.json"


def test_wrong_groupings_are_named(tmp_path):
    runs = [run("a", tmp_path, 1), run("b", tmp_path, 2)]
    with pytest.raises(ValueError, match=r"--label x=c\*: matches none of the runs a, b"):
        group_runs(runs, labels=[("x", "c*")])
    with pytest.raises(ValueError, match="--group-by siri.sed: no run has this setting"):
        group_runs(runs, group_by=["siri.sed"])
    with pytest.raises(ValueError, match="a, b have the same settings and siri.seed=1.*one run counted twice"):
        group_runs([run("a", tmp_path, 1), run("b", tmp_path, 1)])


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    folders = [make_run(tmp_path / seed / "run", seed=int(seed), steps=2) for seed in ("1", "2")]
    assert [r.name for r in read_runs(folders)] == ["1/run", "2/run"]
    with pytest.raises(ValueError, match="run was given twice"):
        read_runs([folders[0], folders[0] / "." / ".." / "run"])
    with pytest.raises(ValueError, match="no run was given"):
        read_runs([])
    with pytest.raises(FileNotFoundError, match="no such folder; give a run's folder"):
        read_run(tmp_path / "nowhere")


# ---- statistics ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_interval_over_runs_is_students(values):
    estimate = over_runs(values)
    assert estimate.mean == pytest.approx(np.mean(values)) and estimate.n == len(values)
    error = stats.sem(values)
    if error > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (estimate.low, estimate.high) == pytest.approx((low, high))
    else:
        assert estimate.low == pytest.approx(estimate.high, abs=1e-6)


def test_one_run_has_no_interval_over_runs():
    assert (over_runs([0.4]).low, over_runs([0.4]).method) == (None, "")


def method(tmp_path, *curves, name="m", seeds=None):
    seeds = seeds or range(1, len(curves) + 1)
    return Method(name, [run(f"{name}{s}", tmp_path, s, curve) for s, curve in zip(seeds, curves, strict=True)], {})


def test_one_seed_shows_the_validations_own_interval(tmp_path):
    alone = method(tmp_path, points(0.2, 0.5))
    band = success_band(alone, "env_steps")
    assert (band.method, band.n) == (OVER_EPISODES, 1)
    np.testing.assert_allclose((band.x, band.mean, band.low, band.high), [(0, 100), (0.2, 0.5), (0.1, 0.4), (0.3, 0.6)])
    assert (final_success(alone).low, final_success(alone).method) == (pytest.approx(0.4), OVER_EPISODES)


def test_seeds_are_averaged_at_the_steps_all_validated(tmp_path):
    both = method(tmp_path, points(0.2, 0.4, 0.6), points(0.4, 0.6))
    band = success_band(both, "step")
    assert band.x.tolist() == [0, 10] and (band.method, band.n) == (OVER_SEEDS, 2)
    np.testing.assert_allclose(band.mean, [0.3, 0.5])
    assert ((band.low <= band.mean) & (band.mean <= band.high)).all() and band.low.min() >= 0
    assert success_band(method(tmp_path, points(0.1), points(0.1)[:0]), "step").n == 1
    assert success_band(method(tmp_path, []), "step") is None and final_success(method(tmp_path, [])) is None


def test_over_environment_steps_runs_are_read_off_at_their_mean(tmp_path):
    band = success_band(method(tmp_path, points(0.0, 1.0, every=100), points(0.0, 1.0, every=200)), "env_steps")
    np.testing.assert_allclose(band.x, [0, 150])
    np.testing.assert_allclose(band.mean, [0, (1.0 + 0.75) / 2])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(1, 1000))
def test_the_area_is_a_mean_of_success(values, every):
    curve = points(*values, every=every)
    value = area(curve, (0.0, float(curve[-1].env_steps)))
    assert min(values) - 1e-9 <= value <= max(values) + 1e-9
    assert value == pytest.approx(np.mean([(a + b) / 2 for a, b in zip(values, values[1:], strict=False)]))


def test_areas_are_taken_over_what_all_runs_cover(tmp_path):
    methods = [method(tmp_path, points(0.0, 1.0, 1.0)), method(tmp_path, points(0.5, 0.5), name="n")]
    assert common_budget(methods) == (0.0, 100.0)
    assert method_area(methods[0], (0.0, 100.0)).mean == pytest.approx(0.5)
    assert method_area(methods[0], (0.0, 150.0)).mean == pytest.approx((50 + 50) / 150)
    assert common_budget([method(tmp_path, points(0.5))]) is None
    assert method_area(methods[0], None) is None


def test_differences_are_paired_by_seed(tmp_path):
    gigpo = method(tmp_path, points(0, 0.3), points(0, 0.5), points(0, 0.9), name="gigpo", seeds=[1, 2, 7])
    siri = method(tmp_path, points(0, 0.4), points(0, 0.7), name="siri", seeds=[2, 1])
    few = method(tmp_path, points(0, 0.4), name="few", seeds=[1])
    found, other = method_differences([siri, gigpo, few], (0.0, 100.0))
    assert (found.first, found.second, found.seeds, found.success.method) == ("siri", "gigpo", [1, 2], PAIRED)
    assert (other.first, other.seeds, other.success.low) == ("few", [], None), "one run of three seeds has no interval"
    assert found.success.mean == pytest.approx(((0.7 - 0.3) + (0.4 - 0.5)) / 2)
    assert found.area.mean == pytest.approx(found.success.mean / 2)
    expected = stats.t.interval(0.95, 1, found.success.mean, stats.sem([0.4, -0.1]))
    assert (found.success.low, found.success.high) == pytest.approx(expected)
    assert method_differences([siri], None) == []
    assert not math.isnan(found.success.low)


@given(*[st.lists(st.floats(0, 1), min_size=2, max_size=6)] * 2)
def test_methods_without_common_seeds_are_compared_by_welch(first, second):
    found = welch(first, second)
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second))
    if np.std(first) > 1e-6 and np.std(second) > 1e-6:
        interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.method == WELCH


def test_single_runs_are_compared_over_the_episodes_of_their_last_validations(tmp_path):
    # Newcombe 1998, table II, example (a): 56/70 and 48/80.
    first, second = (
        CurvePoint(0, k / n, *wilson(k, n), episodes=n, env_steps=0, by_category={}) for k, n in ((56, 70), (48, 80))
    )
    found = difference_of_points(first, second)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4) and found.method == EPISODES
    unknown = replace(first, low=math.nan, high=math.nan, episodes=None)
    assert difference_of_points(unknown, second).low is None
    methods = [Method(name, [run(name, tmp_path, 1, [p])], {}) for name, p in (("a", second), ("b", first))]
    (difference,) = method_differences(methods, None)
    assert (difference.first, difference.second, difference.success.mean) == ("b", "a", pytest.approx(0.2))
    assert difference.area is None


def with_measure(each, points):
    metrics = {p.step: {"siri/val/success": p.success} for p in points}
    return replace(each, validation=metrics, curve=points)


def test_the_headline_states_the_change_with_its_interval(tmp_path):
    start, end = (
        CurvePoint(step, k / 50, *wilson(k, 50), episodes=50, env_steps=0, by_category={})
        for step, k in ((0, 10), (40, 35))
    )
    one = with_measure(run("a", tmp_path, 1), [start, end])
    (sentence,) = headline([Method("a", [one], {})], [])
    change = difference_of_points(end, start)
    assert "went from 0.200" in sentence and "to 0.700" in sentence and "at step 40, 50 episodes" in sentence
    assert f"a change of +0.500 ({change.low:+.3f} to {change.high:+.3f}), an interval above 0." in sentence
    flat = with_measure(run("b", tmp_path, 1), [start, replace(start, step=40)])
    assert "an interval that contains 0." in headline([Method("b", [flat], {})], [])[0]
    methods = [Method("a", [one], {}), Method("gigpo", [flat], {})]
    lines = headline(methods, method_differences(methods, None))
    assert lines[0].startswith("a: success 0.700") and lines[-1].startswith("a minus gigpo: +0.500")
    assert EPISODES in lines[-1]
    empty = headline([Method("c", [run("c", tmp_path, 1)], {})], [])
    assert empty == ["The run has no validation, so its success is unknown."]
