# SPDX-License-Identifier: Apache-2.0
"""Runs of plain verl: files that verl's own file logger wrote, without fields of siri_verl."""

import math

import numpy as np
import pytest
from typer.testing import CliRunner
from verl.utils.tracking import Tracking

from siri_verl.cli import app
from siri_verl.report.build import write_report
from siri_verl.report.reader import read_run
from siri_verl.report.records import read_records
from siri_verl.report.summary import summary_lines

VALUES = (0.25, 0.5, 0.75)


def verl_file(folder, monkeypatch, name="gsm8k", core="val-core/gsm8k/acc/mean@{n}", offset=0.0):
    """Validations of steps 0, 5 and 10, training in between, through verl's Tracking."""
    monkeypatch.setenv("VERL_FILE_LOGGER_ROOT", str(folder))
    monkeypatch.delenv("VERL_FILE_LOGGER_PATH", raising=False)
    log = Tracking("project", name, default_backend=["file"], config={})
    for step in range(11):
        data = {} if not step else {"actor/loss": np.float32(0.5), "timing_s/step": 8.0, "training/global_step": step}
        if step % 5 == 0:
            value = VALUES[step // 5] + offset
            data |= {core.format(n=1): value - 0.2, core.format(n=8): value, "val-aux/num_turns/mean": np.int64(3)}
        log.log(data=data, step=step)
    del log
    return folder / "project" / f"{name}.jsonl"


def test_training_and_validation_are_told_apart_by_their_names(tmp_path, monkeypatch):
    records = read_records(verl_file(tmp_path, monkeypatch))
    assert [r["step"] for r in records if r["kind"] == "validation"] == [0, 5, 10]
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 11))
    assert all(name.startswith("val-") for r in records if r["kind"] == "validation" for name in r["metrics"])


def test_the_curve_is_verls_mean_over_most_samples_without_interval(tmp_path, monkeypatch):
    run = read_run(verl_file(tmp_path, monkeypatch))
    assert (run.name, run.measure, run.steps, len(run.bank), run.starts) == ("gsm8k", "acc", 10, 0, [])
    assert [(p.step, p.success, p.episodes, p.env_steps) for p in run.curve] == [
        (0, 0.25, None, None), (5, 0.5, None, None), (10, 0.75, None, None)
    ]  # fmt: skip
    assert all(math.isnan(p.low) and math.isnan(p.high) for p in run.curve)
    rewards = read_run(verl_file(tmp_path, monkeypatch, "r", "val-core/x/y/reward/mean@{n}", offset=3.0))
    assert rewards.measure == "reward" and rewards.curve[-1].success == 3.75


def test_curve_and_report_read_the_file(tmp_path, monkeypatch):
    files = [verl_file(tmp_path, monkeypatch, name, offset=i / 10) for i, name in enumerate(("one", "two"))]
    done = CliRunner().invoke(app, ["curve", str(files[0])], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert "one: validation" in done.output and "0.750" in done.output and " acc " in done.output
    assert files[0].with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    page = write_report(files, tmp_path / "out").read_text(encoding="utf-8")
    assert "two minus one: +0.100 (no interval), of unknown uncertainty." in page
    assert "metrics of verl without siri fields" in page and "one: acc 0.750 at the end, one run." in page
    done = CliRunner().invoke(app, ["report", str(files[0])])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "project" / "one_report" / "report.html").is_file()


def test_the_summary_shows_verls_metric(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    verl_file(tmp_path, monkeypatch).rename(run / "metrics.jsonl")
    lines = summary_lines(read_run(run))
    assert lines[2:4] == ["  acc at step 0: 0.250", "  acc at step 10: 0.750"]
    assert "nan" not in "\n".join(lines) and lines[-1] == f"files in {run}: metrics.jsonl"


@pytest.mark.parametrize("line", ['{"step": 1}', "[]", '{"step": "x", "data": {}}'])
def test_lines_of_other_files_are_named(tmp_path, line):
    (tmp_path / "x.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match="x.jsonl, line 1: no record of metrics"):
        read_records(tmp_path / "x.jsonl")
