# SPDX-License-Identifier: Apache-2.0
"""Learning curves from metrics files as a run writes them."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.core.statistics import wilson
from siri_verl.report.curve import curve_points, read_curve
from siri_verl.report.curve_pictures import draw_curve
from siri_verl.report.reader import read_run
from siri_verl.report.tables import curve_table
from siri_verl.runs.metrics import MetricsLog, read_metrics
from siri_verl.training.metrics import validation_metrics


def write_run(folder, successes=(1, 4), every=2):
    """A run folder with a validation before training and after every second step, 8 episodes each."""
    log = MetricsLog(folder / "metrics.jsonl")
    for k, won in enumerate(successes):
        for step in range(every * (k - 1) + 1, every * k + 1):
            log.write("train", step, {"siri/env_steps_total": 100 * step})
        infos = {"success": [1.0] * won + [0.0] * (8 - won), "category": ["a"] * 4 + ["b"] * 4}
        log.write("validation", every * k, validation_metrics(infos))
    return folder


def test_points_carry_success_interval_categories_and_the_steps_taken_before(tmp_path):
    first, second = read_curve(write_run(tmp_path))
    assert (first.step, first.env_steps, first.success, first.episodes) == (0, 0, 1 / 8, 8)
    assert (second.step, second.env_steps, second.success) == (2, 200, 1 / 2)
    assert second.low < second.success < second.high
    assert first.by_category == {"a": 0.25, "b": 0.0} and second.by_category == {"a": 1.0, "b": 0.0}


def test_a_folder_without_a_run_or_without_validation_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="default_local_dir"):
        read_curve(tmp_path)
    MetricsLog(tmp_path / "metrics.jsonl").write("train", 1, {"siri/env_steps_total": 5})
    with pytest.raises(ValueError, match="holds no validation.*test_freq"):
        read_curve(tmp_path)


def test_a_validation_of_another_agent_loop_is_named(tmp_path):
    MetricsLog(tmp_path / "metrics.jsonl").write("validation", 4, {"val-aux/x/score/mean@1": 0.5})
    with pytest.raises(ValueError, match=r"step 4.*siri/val/success.*val-core"):
        read_curve(tmp_path)


def test_kinds_of_task_have_intervals_with_logged_or_inferred_counts(tmp_path):
    folder = write_run(tmp_path, (1, 4, 3))
    logged = read_curve(folder)[1]
    assert logged.category_episodes == {"a": 4, "b": 4}
    assert logged.category_interval("a") == wilson(4, 4) and logged.category_interval("b") == wilson(0, 4)
    records = read_metrics(folder / "metrics.jsonl")
    for record in records:
        record["metrics"] = {n: v for n, v in record["metrics"].items() if not n.startswith("siri/val/episodes/")}
    first = next(record for record in records if record["kind"] == "validation")
    assert [p.category_episodes for p in curve_points(folder, [first])] == [{}], "1/4 and 0/n: n of b is unknown"
    records[-1]["metrics"]["siri/val/success/b"] = 0.25
    assert curve_points(folder, records)[0].category_episodes == {"a": 4, "b": 4}


def test_the_table_shows_every_point(tmp_path):
    out = io.StringIO()
    Console(file=out, width=120).print(curve_table(read_run(write_run(tmp_path, (1, 4, 8)))))
    text = out.getvalue()
    for part in ("0.125", "0.500", "1.000", "200", "400", "95 % interval", " a ", " b "):
        assert part in text


def test_the_picture_is_a_png_of_one_run_or_several(tmp_path):
    one = read_run(write_run(tmp_path / "one"))
    other = read_run(write_run(tmp_path / "other", (0, 2, 6)))
    sizes = []
    for runs in ([one], [one, other]):
        target = tmp_path / "pictures" / f"{len(runs)}.png"
        draw_curve(runs, target)
        data = target.read_bytes()
        assert data.startswith(b"\x89PNG")
        sizes.append(int.from_bytes(data[16:20], "big"))
    assert sizes[0] > sizes[1], "one run also gets its categories"


def curve(*words):
    result = CliRunner().invoke(app, ["curve", *map(str, words)], env={"COLUMNS": "160"})
    return result.exit_code, " ".join(result.output.split())


def test_runs_whose_folders_have_one_name_are_told_apart_and_overwrite_no_picture(tmp_path):
    runs = [write_run(tmp_path / f"seed_{seed}" / "gigpo") for seed in (1, 2)]
    picture = runs[0] / "learning_curve.png"
    assert curve(runs[0])[0] == 0 and picture.is_file()
    before = picture.read_bytes()
    assert curve(*runs) == (1, "error --out: not given; with several runs, name a PNG file for the picture")
    code, text = curve(*runs, "--out", tmp_path / "both.png")
    assert code == 0
    assert "seed_1/gigpo: validation" in text
    assert "seed_2/gigpo: validation" in text
    assert picture.read_bytes() == before and (tmp_path / "both.png").is_file()
    code, text = curve(runs[0], runs[0], "--out", tmp_path / "x.png")
    assert code == 1 and "seed_1/gigpo was given twice" in text
    code, text = curve(*runs, "--out", tmp_path / "x.nosuch")
    assert code == 1 and "nosuch" in text
