# SPDX-License-Identifier: Apache-2.0
"""`siri-verl watch` and `siri-verl summary` over runs of siri_verl and of verl alone."""

import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from rich.console import Console
from support.report_run import make_run
from typer.testing import CliRunner
from verl.utils.tracking import Tracking

from siri_verl.cli import app
from siri_verl.core.statistics import PairedEffect
from siri_verl.report.live import HEIGHT, curve, read_live, render
from siri_verl.report.reader import read_run
from siri_verl.report.summary import MOST_LINES, summary_lines
from siri_verl.runs.metrics import read_metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "siri_demo", steps=30, trajectories=False)


def watch(path):
    done = CliRunner().invoke(app, ["watch", str(path), "--once"])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_run_is_shown_with_phase_arms_validation_skills_and_time(run):
    state = read_live(run)
    text = watch(run)
    assert text.startswith("siri_demo  step 30 | internalization | success ")
    assert "validation " in text and "at step 30" in text
    active = [skill for skill in state.bank.skills.values() if skill.status == "active"]
    assert active and all(skill.skill_id in text and skill.block[:20] in text for skill in active[:3])


def test_on_a_narrow_terminal_only_the_texts_of_skills_are_cut(run):
    state = read_live(run)
    screen = io.StringIO()
    Console(width=70, file=screen).print(render(state))
    rows = [row for line in screen.getvalue().splitlines() if (row := line.split()) and row[0] in state.bank.skills]
    assert rows and all(row[1] in ("active", "candidate") for row in rows)
    assert any(row[-1].endswith("…") for row in rows)


def test_the_time_left_counts_validations(run):
    state = replace(read_live(run), total=40)
    per_step = (20 * 8.5 + 4 * 4.0) / 20  # steps 11 to 30, of which four are validated
    assert state.seconds_left == pytest.approx(10 * per_step) and not state.ended
    assert replace(state, total=30).ended and read_live(run).seconds_left is None


def test_the_curve_has_validations_where_they_belong(run):
    lines = curve(read_live(run)).plain.splitlines()[1 : HEIGHT + 1]
    state = read_live(run)
    first = state.validation[0]["siri/val/success"]
    row = HEIGHT - 1 - round(first * (HEIGHT - 1))
    assert lines[row][6] == "●"
    assert sum(line.count("●") for line in lines) == len(state.validation)


def test_a_run_that_has_not_begun_waits(tmp_path):
    assert watch(tmp_path) == f"{tmp_path.name}: waiting for the first step\n"
    done = CliRunner().invoke(app, ["watch", str(tmp_path / "none"), "--once"])
    assert done.exit_code == 1 and "no such folder" in done.output


def test_the_file_of_verls_own_logger_is_followed(tmp_path, monkeypatch):
    path = tmp_path / "plain.jsonl"
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(path))
    tracking = Tracking("project", "experiment", ["file"], {})
    tracking.log({"val-core/gsm8k/acc/mean@1": np.float64(0.25)}, 0)
    for step in (1, 2):
        data = {"training/global_step": step, "critic/score/mean": 0.5, "timing_s/step": 9.0}
        tracking.log(data | ({"val-core/gsm8k/acc/mean@1": 0.375} if step == 2 else {}), step)
    tracking.finish()
    assert [(r["kind"], r["step"]) for r in read_metrics(path)] == [
        ("validation", 0),
        ("train", 1),
        ("train", 2),
        ("validation", 2),
    ]
    text = watch(path)
    assert text.startswith("plain.jsonl  step 2 | score 0.50 | validation 0.375 at step 2")
    assert text.count("●") == 3  # two points and the legend


def effect(plain, skill):
    return asdict(PairedEffect(64, 32, plain, skill, skill - plain, skill - plain - 0.1, skill - plain + 0.1, "t"))


def test_the_summary_is_short_and_says_what_the_skills_were_worth(run):
    for name, numbers in (("start", effect(0.25, 0.5)), ("siri_demo_global_step_30", effect(0.75, 0.8))):
        skill = {"skill_id": "s0001", "task_type": "bath", "block": "x", "success": numbers}
        content = {"version": 1, "level": 0.95, "skills": [skill], "overall": numbers}
        (run / f"retest_{name}.json").write_text(json.dumps(content))
    (run / "report").mkdir()
    (run / "report" / "report.html").write_text("")
    lines = summary_lines(read_run(run))
    assert len(lines) <= MOST_LINES
    found, text = read_run(run), "\n".join(lines)
    for point in (found.curve[0], found.curve[-1]):
        assert f"step {point.step}: {point.success:.3f} (95 % interval {point.low:.3f} to {point.high:.3f})" in text
    assert "worth of the skills at the start: 0.250 without, 0.500 with a skill; difference +0.250 (95%" in text
    assert "left of it in the trained policy: 0.750 without, 0.800 with a skill" in text
    assert lines[-1] == f"open this page: {run}/report/report.html"
    done = CliRunner().invoke(app, ["summary", str(run)])
    assert done.exit_code == 0 and done.output.splitlines() == lines
