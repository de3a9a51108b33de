# SPDX-License-Identifier: Apache-2.0
"""The comparison's results: going on from committed ones, what is refused, measuring and entering. No training here."""

import json
import shutil
import subprocess
import threading

import pytest
from support.comparison_runs import FACTS, WEBSHOP, comparison, entries, phase_0

from benchmarks.siri_vs_gigpo import plan, results, run, settings
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.planning.compose import compose_run
from siri_verl.runs.config import save_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import MetricsLog
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import BANK_FILE, BankFileError, save_bank
from siri_verl.skills.skill import Provenance


def test_rows_survive_and_a_run_without_its_row_is_not_finished(tmp_path):
    found = results.Results(tmp_path)
    row, curve = entries("siri", 101, 0.61)
    found.add(row, curve)
    again = results.Results(tmp_path)
    assert again.rows == {("webshop", "siri", 101): row} and again.curves == {("webshop", "siri", 101): curve}
    with pytest.raises(results.ResultsError, match="is there already"):
        again.add(row, curve)
    again.rows_file.write_text("[]")
    half = results.Results(tmp_path)
    assert not half.finished and half.facts(("webshop", "siri", 101)) is None
    half.add(row, curve)
    half.curves_file.write_text("[]")
    with pytest.raises(results.ResultsError, match="has no curve in curves.json"):
        results.Results(tmp_path)


def test_two_processes_lose_nothing_of_each_other(tmp_path):
    first, second = results.Results(tmp_path), results.Results(tmp_path)
    entered = threading.Event()

    def late():
        with second.alone():
            entered.set()
            second.add(*entries("gigpo", 102))

    with first.alone():
        thread = threading.Thread(target=late)
        thread.start()
        assert not entered.wait(0.3), "it waits until the folder is free"
        first.add(*entries("gigpo", 101))
    thread.join(30)
    assert results.Results(tmp_path).finished == {("webshop", "gigpo", 101), ("webshop", "gigpo", 102)}


@pytest.mark.parametrize(
    "change, text",
    [
        ({"success": "high"}, "success='high', expected float"),
        ({"extra": 1}, "missing or unknown: .*extra"),
        ({"seed": 1.5}, "seed=1.5, expected int"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, change, text):
    (tmp_path / "results.json").write_text(json.dumps([{**entries("siri", 1)[0], **change}]))
    with pytest.raises(results.ResultsError, match=text):
        results.Results(tmp_path)


def test_a_share_that_is_none_is_named(tmp_path):
    row, curve = entries("siri", 101, by_type={"bath": 1.2})
    with pytest.raises(results.ResultsError, match="success_by_type: bath=1.2, expected a number from 0 to 1"):
        results.Results(tmp_path).add(row, curve)
    damaged = json.loads(json.dumps({**curve, "success_by_type": {}}))
    damaged["points"][1]["by_category"] = {"bath": "most"}
    (tmp_path / "curves.json").write_text(json.dumps([damaged]))
    with pytest.raises(results.ResultsError, match="by_category of step 1: bath='most', expected a number"):
        results.Results(tmp_path)


def test_a_bad_point_or_skill_is_refused_before_it_is_written(tmp_path):
    row, curve = entries("siri", 101)
    found = results.Results(tmp_path)
    with pytest.raises(results.ResultsError, match="a point: .*step='late', expected int"):
        found.add(row, {**curve, "points": [{**curve["points"][0], "step": "late"}]})
    with pytest.raises(results.ResultsError, match="a skill: fields must be id, task_type"):
        found.add(row, {**curve, "active_skills": [{"id": "s0001"}]})
    assert not (tmp_path / "curves.json").exists()


def test_active_skills_are_written_down_with_their_evidence(tmp_path):
    bank = SkillBank()
    for strategy in ("read the features first", "click next"):
        bank.add("the bath is named", strategy, "bath", Provenance("t", "t_0", 1))
    for step in range(12):
        bank.record(TreatmentEffect("g", "s0001", 0.75, 1.0, 0.25, 4, 4), f"t{step}", step)
    bank.record(TreatmentEffect("g", "s0002", 0.75, 1.0, 0.25, 4, 4), "t", 13)
    save_bank(bank, tmp_path / BANK_FILE)
    (skill,) = results.active_skills(tmp_path / BANK_FILE)
    assert skill["text"] == "When the bath is named: read the features first" and skill["task_type"] == "bath"
    assert (skill["groups"], skill["mean"]) == (12, 0.75) and 0 < skill["low"] < 0.75 < skill["high"] <= 1
    assert skill["utility"] == pytest.approx(bank.utility("s0001"), abs=1e-4)
    with pytest.raises(BankFileError, match="none: no such file"):
        results.active_skills(tmp_path / "none")
    row, curve = entries("siri", 101)
    results.Results(tmp_path).add(row, {**curve, "active_skills": [skill]})


def test_some_of_the_seeds_can_be_run_alone_and_an_unknown_one_is_named(tmp_path):
    place = ("webshop", True, "base", (), tmp_path / "work")
    alone = run.Comparison(*place, home=tmp_path / "home", only=(102,))
    assert {job.seed for job in alone.jobs(list(settings.METHODS))} == {102}
    with pytest.raises(run.BenchmarkError, match=r"--only 7: settings.py has \(101"):
        run.Comparison(*place, home=tmp_path / "home", only=(7, 102))


def test_results_of_other_settings_are_not_mixed(tmp_path):
    found = comparison(tmp_path)
    row, curve = entries("siri", 101)
    found.results.add(row, {**curve, "facts": {**FACTS, "settings": "older"}})
    with pytest.raises(results.ResultsError, match="was run under settings older"):
        comparison(tmp_path)


def test_final_seeds_take_committed_settings_as_they_are(tmp_path):
    with pytest.raises(run.BenchmarkError, match="final runs take settings.py as it is"):
        comparison(tmp_path, extra=["a=1"])
    with pytest.raises(run.BenchmarkError, match="name the trial as well"):
        comparison(tmp_path, final=False, extra=["a=1"])
    with pytest.raises(run.BenchmarkError, match="--environment moon: settings.py has webshop"):
        run.Comparison("moon", False, "base", (), tmp_path)
    assert comparison(tmp_path, final=False, trial="t", extra=["a=1"]).folder == tmp_path / "home/development/t"


def test_a_finished_run_is_one_commit_and_changed_settings_are_refused(tmp_path):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    for name, value in (("user.name", "a"), ("user.email", "a@b")):
        git("config", name, value)
    (tmp_path / "other").write_text("not ours")
    (tmp_path / "settings.py").write_text("1")
    with pytest.raises(run.BenchmarkError, match="commit it first"):
        run.check_committed(tmp_path / "settings.py")
    run.commit([tmp_path / "settings.py", tmp_path / "not there"], "settings")
    run.check_committed(tmp_path / "settings.py")
    assert git("log", "--format=%s").split() == ["settings"] and "?? other" in git("status", "--porcelain")
    with pytest.raises(run.BenchmarkError, match="git could not commit"):
        run.commit([tmp_path / "settings.py"], "nothing new")


def test_costs_and_the_controls_numbers_come_from_the_runs_metrics(tmp_path):
    log = MetricsLog(RunFolder(tmp_path).metrics)
    for step, (phase, gated) in enumerate([(0, None), (1, None), (1, None), (2, 90), (2, None), (2, 60)], 1):
        metrics = {"siri/env_steps_total": 300 * step, "siri/generated_tokens": 1000, "siri/rows": 300}
        metrics |= {"siri/phase": phase, "siri/internalization/rows_added": 20 if gated else 0, "timing_s/step": 2.5}
        metrics |= {"siri/mining/generated_tokens": 40} if step == 2 else {}
        metrics |= {"siri/internalization/tokens_gated": gated} if gated else {}
        log.write("train", step, metrics)
    numbers = results.training_numbers(tmp_path)
    assert numbers == {"env_steps": 1800, "generated_tokens": 6000, "mining_tokens": 40, "gradient_rows": 1840,
                       "wall_seconds": 15.0}  # fmt: skip
    assert results.control_numbers(tmp_path) == {"self_imitation_tokens": 50, "mining_steps": 2}
    log.write("train", 7, {"siri/phase": 2})
    with pytest.raises(results.ResultsError, match="step 7 has no 'siri/env_steps_total'"):
        results.training_numbers(tmp_path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    from siri_verl.demos.webshop.generator import MIN_PRODUCTS, generate
    from siri_verl.demos.webshop.model import make_model

    folder = tmp_path_factory.mktemp("shop")
    generate(folder / "webshop_demo", products=MIN_PRODUCTS)
    make_model(folder / "model")
    return folder


def test_a_trained_run_is_measured_and_entered_and_nothing_is_trained_twice(shop, tmp_path, monkeypatch):
    small = {"validation_tasks": 4, "test_tasks": 4, "repeats": 1}
    monkeypatch.setitem(settings.ENVIRONMENTS, "webshop", settings.Environment(**{**vars(WEBSHOP), **small}))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data").symlink_to(shop)
    shutil.copytree(shop / "model", tmp_path / "home" / "warm_start" / "webshop")
    here = comparison(tmp_path)
    kwargs, model = here.prepare()
    assert model == tmp_path / "home" / "warm_start" / "webshop"
    # a run folder as training leaves it
    folder = here.places.run(101, "siri")
    phase_0(folder, env_steps=WEBSHOP.budget, step=4)
    checkpoint = plan.newest_checkpoint(folder)
    shutil.copytree(shop / "model", checkpoint.path / "actor" / "huggingface")
    save_bank(SkillBank(), checkpoint.bank)
    words = here.words(plan.Job(101, "siri"), kwargs, model)
    save_config(compose_run(words), folder)
    log = MetricsLog(RunFolder(folder).metrics)
    validation = {"siri/val/success": 0.2, "siri/val/success_low": 0.1, "siri/val/success_high": 0.3}
    log.write("validation", 0, {**validation, "siri/val/episodes": 4})
    costs = {"siri/env_steps_total": WEBSHOP.budget, "siri/generated_tokens": 9, "siri/rows": 5, "siri/phase": 2}
    log.write("train", 4, {**costs, "siri/internalization/rows_added": 0, "timing_s/step": 1.0})
    jobs = here.jobs(["siri", "siri_skills_in_prompt"])[:2]
    assert [(job.seed, job.method) for job in jobs] == [(101, "siri"), (101, "siri_skills_in_prompt")]
    for job in jobs:
        here.run(job, kwargs, model)
    rows = comparison(tmp_path).results.rows
    row = rows["webshop", "siri", 101]
    assert (row["env_steps"], row["tasks"], row["generated_tokens"]) == (WEBSHOP.budget, 4, 9) and 0 <= row[
        "score"
    ] <= 1
    # without an active skill the prompt is the plain one, and so are the numbers
    same = rows["webshop", "siri_skills_in_prompt", 101]
    assert (same["success"], same["score"]) == (row["success"], row["score"])
    facts = here.results.facts(("webshop", "siri", 101))
    assert facts["warm_start"] == run.weights_hash(model) and "siri.seed=101" in facts["overrides"]
    assert not any(str(tmp_path) in word for word in facts["overrides"])
    summary = json.loads((folder / "eval" / "demo-test" / "summary.json").read_text())
    by_type = here.results.curves["webshop", "siri", 101]["success_by_type"]
    assert by_type == {name: kind["success"]["mean"] for name, kind in summary["by_type"].items()} != {}
    assert summary["settings"]["panel"]["split"] == "demo/test" and summary["settings"]["prompting"]["kind"] == "plain"
