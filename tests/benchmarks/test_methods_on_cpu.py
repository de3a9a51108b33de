# SPDX-License-Identifier: Apache-2.0
"""The comparison of published methods: its plan, its hashes and its table. No training here."""

import os

import pytest
from support.comparison_runs import CONTROL, FACTS, entries
from support.method_family import FAMILY

from benchmarks.methods import settings, table
from benchmarks.siri_vs_gigpo import plan, results, run
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.settings.reference import method_groups

PROTOCOL = settings.PROTOCOL
WEBSHOP = PROTOCOL.environments["webshop"]


def comparison(tmp_path, final=True, trial="base", extra=()):
    home = tmp_path / "home"
    return run.Comparison("webshop", final, trial, tuple(extra), tmp_path / "work", home=home, protocol=PROTOCOL)


def test_every_method_of_the_family_is_compared():
    assert {method.group for method in settings.TRAINING.values()} >= set(FAMILY)
    groups = method_groups()
    for name, method in settings.TRAINING.items():
        assert name == groups.get(method.group, "siri")
    from benchmarks.siri_vs_gigpo.settings import FINAL_SEEDS

    assert not set(PROTOCOL.final_seeds) & {*PROTOCOL.dev_seeds, *FINAL_SEEDS}


def test_each_is_missing_once_per_seed_and_starts_alike(tmp_path):
    jobs = comparison(tmp_path).jobs(list(settings.METHODS))
    recorded = [(job.method, job.seed) for job in jobs if job.record]
    assert len(recorded) == len(set(recorded)) == len(settings.METHODS) * 3
    for name in settings.TRAINING:
        words = plan.training_words(
            WEBSHOP, plan.Places(tmp_path), {}, tmp_path / "model", 301, name, CONTROL, (), settings.METHODS
        )
        assert f"actor_rollout_ref.model.path={tmp_path}/model" in words
        assert f"siri.budget.env_steps={WEBSHOP.budget}" in words


@pytest.mark.parametrize("name", ["sdar", "spear"])
def test_what_a_run_is_started_with_composes(tmp_path, name):
    words = plan.training_words(
        WEBSHOP, plan.Places(tmp_path), {"store": "/s"}, tmp_path, 301, name, CONTROL, (), settings.METHODS
    )
    block = siri_settings(compose_run(words))
    assert (block.method, block.seed, block.phases.fixed) == (name, 301, "internalization")


def test_a_change_of_one_method_leaves_the_rows_of_the_others(tmp_path):
    first = comparison(tmp_path)
    before = first.fingerprints
    assert len(set(before.values())) > len(settings.TRAINING) - 1
    changed = PROTOCOL.__class__(
        **{**vars(PROTOCOL), "methods": {**settings.METHODS, "sdar": settings.trained("sdar", "a=1")}}
    )
    after = changed.fingerprints("webshop")
    assert {name for name in before if before[name] != after[name]} == {"sdar"}
    row, curve = entries("rlsd", 301)
    curve["facts"] = {**FACTS, "settings": before["rlsd"]}
    first.results.add(row, curve)
    first.results.check_settings("webshop", after)
    with pytest.raises(results.ResultsError, match=f"present ones are {after['sdar']}"):
        first.results.check_settings("webshop", {**after, "rlsd": after["sdar"]})


def test_the_table_has_methods_best_first_with_gap_and_costs(tmp_path):
    found = results.Results(tmp_path)
    for seed in (301, 302, 303):
        for name, success in (("gigpo", 0.5), ("siri", 0.6), ("siri_with_skills", 0.7), ("sdar", 0.55)):
            found.add(*entries(name, seed, success + seed % 3 / 100))
    text = table.table(results.Results(tmp_path), "webshop")
    order = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `") and line.count("|") == 12]
    assert order == ["siri", "sdar", "gigpo"]
    assert "| `siri` | 3 | 0.610" in text and "+0.100 (+0.100 to +0.100)" in text, "the gap"
    assert "seeds 301, 302, 303" in text
    table.main(["--folder", str(tmp_path)])
    assert (tmp_path / "curves_webshop.png").stat().st_size > 10_000
    assert os.listdir(tmp_path).count("table.md") == 1
