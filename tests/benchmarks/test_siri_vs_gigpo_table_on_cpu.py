# SPDX-License-Identifier: Apache-2.0
"""The comparison's table: intervals, areas, aims, and what is written."""

import numpy as np
import pytest
from scipy import stats
from support.comparison_runs import entries

from benchmarks.siri_vs_gigpo import differences, results, settings, table


def test_paired_intervals_are_scipys():
    values = {("webshop", m, s): v for m, row in (("siri", [0.6, 0.7, 0.55, 0.62]), ("gigpo", [0.5, 0.58, 0.52, 0.49]))
              for s, v in enumerate(row)}  # fmt: skip
    values["webshop", "siri", 9] = 0.0  # no partner
    found = differences.paired(values, "webshop", "siri", "gigpo")
    gains = np.array([0.1, 0.12, 0.03, 0.13])
    low, high = stats.ttest_rel([0.6, 0.7, 0.55, 0.62], [0.5, 0.58, 0.52, 0.49]).confidence_interval(0.95)
    assert found.n == 4
    assert found.mean == pytest.approx(gains.mean())
    assert found.t == pytest.approx((low, high))
    theirs = stats.bootstrap((gains,), np.mean, method="percentile", n_resamples=10_000, rng=0)
    interval = theirs.confidence_interval
    assert found.bootstrap == pytest.approx((interval.low, interval.high), abs=0.006)
    assert differences.paired(values, "webshop", "grpo", "gigpo") is None
    assert differences.interval([0.4]) == differences.Interval(1, 0.4, None, None)


def test_area_is_the_mean_height_up_to_a_common_place():
    points = entries("siri", 1, curve=[(0, 0.2), (100, 0.4), (300, 0.4)])[1]["points"]
    assert differences.area(points, 100) == pytest.approx(0.3)
    assert differences.area(points, 200) == pytest.approx(0.35)
    assert differences.area(points[::-1], 600) == pytest.approx((0.3 * 100 + 0.4 * 500) / 600)


def test_aims_need_mean_and_interval():
    aim = table.AIMS[0]
    assert aim.met(differences.Interval(5, 0.06, (0.01, 0.11), None))
    assert not aim.met(differences.Interval(5, 0.04, (0.01, 0.07), None))
    assert not aim.met(differences.Interval(5, 0.06, (-0.01, 0.13), None))
    assert not aim.met(differences.Interval(1, 0.06, None, None))
    assert table.AIMS[2].met(differences.Interval(3, 0.01, (-0.01, 0.029), None))
    assert not table.AIMS[2].met(differences.Interval(3, 0.01, (-0.01, 0.031), None))


def test_table_and_curves_are_written(tmp_path, capsys):
    found = results.Results(tmp_path)
    for seed, base in zip(settings.FINAL_SEEDS, (0.50, 0.52, 0.49, 0.51, 0.50), strict=True):
        for method, gain in (("gigpo", 0.0), ("siri", 0.08 + 0.01 * (seed % 2)), ("siri_skills_in_prompt", 0.2)):
            found.add(
                *entries(
                    method,
                    seed,
                    base + gain,
                    curve=[(0, 0.2), (10_000, 0.3 + gain), (20_100, base + gain)],
                    by_type={"pets": base, "bath": base + gain},
                )
            )
    table.main(["--folder", str(tmp_path)])
    text = (tmp_path / "table.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    assert "| `gigpo` | 5 | 0.504" in text
    assert "| siri - gigpo | at least +5 points, interval above 0 | +0.086 (+0.079 to +0.093) | 5 | met |" in text
    assert "| siri_random_skills - gigpo | upper end under +5 points |  | 0 | not run |" in text
    skills = next(line for line in text.splitlines() if line.startswith("| siri_skills_in_prompt - siri"))
    assert skills.endswith("| missed |")
    assert "| method | 101 | 102 | 103 | 104 | 105 |" in text and "| `gigpo` | 0.500 | 0.520 | 0.490 |" in text
    prompt = next(line for line in text.splitlines() if line.startswith("| `siri_skills_in_prompt` | 5 | 0.704"))
    assert prompt.endswith("| -0.114 (-0.121 to -0.107) |"), "what siri is ahead of it"
    assert "| method | seeds | bath | pets |" in text and "| `siri_skills_in_prompt` | 5 | 0.70 | 0.50 |" in text
    machine = "EPYC, 2 cores, 24 GiB, no accelerator"
    assert f"run.py --seeds final`; seeds 101, 102, 103, 104, 105; machine: {machine}; " in text
    assert "starting weights 88428f42d73c; settings" in text and text.strip().endswith("commits c7bff7c.")
    assert len(differences.areas(results.Results(tmp_path), "webshop")) == 10, "a policy counts once"
    assert (tmp_path / "curves_webshop.png").read_bytes()[:4] == b"\x89PNG"
