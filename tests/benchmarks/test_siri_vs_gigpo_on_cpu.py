# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The comparison's harness: what is missing, forks of phase 0, going on from committed results, the words of every run,
and the table's arithmetic. No training here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from scipy import stats

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO))

from benchmarks.siri_vs_gigpo import plan, results, run, settings, table  # noqa: E402
from siri_verl.config import siri_config  # noqa: E402
from siri_verl.core.phases import PHASES, Census, PhaseMachine, PhaseSettings  # noqa: E402
from siri_verl.evaluation.policy import TRACKER  # noqa: E402
from siri_verl.skills.bank import SkillBank  # noqa: E402
from siri_verl.skills.bank_file import BANK_FILE, save_bank  # noqa: E402
from siri_verl.training.checkpoint import load_state, save_state  # noqa: E402
from siri_verl.training.metrics_log import METRICS_FILE, MetricsLog  # noqa: E402
from siri_verl.training.preflight import check_algorithm  # noqa: E402
from siri_verl.training.preflight_skills import check_skills  # noqa: E402
from siri_verl.training.run_config import save_config  # noqa: E402

WEBSHOP = settings.ENVIRONMENTS["webshop"]
CONTROL = {"self_imitation_tokens": 120, "mining_steps": 7}
FACTS = {"settings": WEBSHOP.fingerprint(), "overrides": [], "commit": "", "machine": {}, "warm_start": "", **CONTROL}


def entries(method, seed, success=0.5, curve=((0, 0.2), (20_100, 0.5))):
    name = {"environment": "webshop", "method": method, "seed": seed}
    costs = {"generated_tokens": 5, "mining_tokens": 0, "gradient_rows": 9, "wall_seconds": 1.5}
    row = {**name, "env_steps": 20_100, "tasks": 240, "success": success, "score": success, **costs}
    points = [
        {"step": i, "env_steps": x, "success": y, "low": y, "high": y, "episodes": 9} for i, (x, y) in enumerate(curve)
    ]
    return row, {**name, "points": points, "facts": FACTS}


def comparison(tmp_path, final=True, trial="base", extra=()):
    return run.Comparison("webshop", final, trial, tuple(extra), tmp_path / "work", home=tmp_path / "home")


def phase_0(folder, env_steps=1500, step=4, over=True):
    """A run folder as phase 0 leaves it."""
    machine = PhaseMachine(PhaseSettings(warm_up_tasks=1 if over else 99))
    for number in range(1, step + 1):
        machine.end_step(number, ["a task"] if number == step else [], Census())
    state = {"env_steps": env_steps, "skills": {"phases": machine.to_dict(), "mined": 0}}
    save_state(folder / f"global_step_{step}", state)
    (folder / f"global_step_{step}" / "actor").mkdir()
    (folder / f"global_step_{step}" / "actor" / "weights").write_text("w")
    (folder / TRACKER).write_text(str(step))
    log = MetricsLog(folder / METRICS_FILE)
    log.write("validation", 0, {"siri/val/success": 0.2} | dict.fromkeys(("siri/val/success_low",), 0.1))
    return machine


# ---- settings and plan -----------------------------------------------------------------------------------------------


def test_methods_and_seeds_are_those_of_the_protocol():
    assert set(settings.HEADLINE) == {name for name, method in settings.METHODS.items() if method.seeds == 5}
    assert sorted(set(settings.METHODS) - set(settings.HEADLINE)) == [
        *("grpo", "siri_no_gate", "siri_no_internalization", "siri_skills_in_prompt")
    ]
    assert all(settings.METHODS[name].seeds in (3, 5) for name in settings.METHODS)
    assert not set(settings.FINAL_SEEDS) & set(settings.DEV_SEEDS) and len(set(settings.FINAL_SEEDS)) == 5
    assert len({WEBSHOP.train, WEBSHOP.development, WEBSHOP.test}) == 3


def test_a_fingerprint_follows_what_decides_the_numbers():
    assert WEBSHOP.fingerprint() == WEBSHOP.fingerprint() != WEBSHOP.fingerprint(["a=1"])
    smaller = settings.Environment(**{**vars(WEBSHOP), "budget": WEBSHOP.budget - 1})
    assert smaller.fingerprint() != WEBSHOP.fingerprint()


def test_everything_is_missing_at_first_and_phase_0_comes_once_per_seed(tmp_path):
    jobs = comparison(tmp_path).jobs(list(settings.METHODS))
    recorded = [(job.method, job.seed) for job in jobs if job.record]
    assert len(recorded) == len(set(recorded)) == 4 * 5 + 4 * 3
    for seed in settings.FINAL_SEEDS:
        mine = [job.method for job in jobs if job.seed == seed]
        assert mine[0] == settings.PHASE_0 and mine.count(settings.PHASE_0) == 1
        assert mine.index("siri") < mine.index("gigpo_self_imitation")
    assert not any(job.record for job in jobs if job.method == settings.PHASE_0)


def test_grpo_needs_no_phase_0_and_an_unknown_method_is_named(tmp_path):
    assert [job.method for job in comparison(tmp_path).jobs(["grpo"])] == ["grpo"] * 3
    with pytest.raises(ValueError, match="--methods ppo: no such method; use some of gigpo, siri"):
        comparison(tmp_path).jobs(["ppo"])


def test_committed_results_are_not_run_again_on_another_machine(tmp_path):
    first = comparison(tmp_path)
    for method in ("gigpo", "siri"):
        first.results.add(*entries(method, 101))
    jobs = comparison(tmp_path).jobs(["gigpo", "siri", "gigpo_self_imitation", "siri_skills_in_prompt"])
    mine = [(job.method, job.record) for job in jobs if job.seed == 101]
    # the control's numbers are in the results; for its policy siri has to be trained again, and is not entered twice
    assert mine == [
        *((settings.PHASE_0, False), ("gigpo_self_imitation", True), ("siri", False)),
        ("siri_skills_in_prompt", True),
    ]
    words = comparison(tmp_path).words(plan.Job(101, "gigpo_self_imitation"), {}, Path("model"))
    assert "siri.control.self_imitation_tokens=120" in words and "siri.phases.mining_max_steps=7" in words


def test_finished_folders_are_used(tmp_path):
    here = comparison(tmp_path, final=False)
    phase_0(here.places.run(1, settings.PHASE_0))
    phase_0(here.places.run(1, "siri"), env_steps=WEBSHOP.budget)
    phase_0(here.places.run(2, settings.PHASE_0), over=False)
    jobs = here.jobs(["siri", "siri_skills_in_prompt"])
    assert [job.method for job in jobs if job.seed == 1] == ["siri", "siri_skills_in_prompt"]
    # a phase 0 that was stopped half-way goes on first
    assert [job.method for job in jobs if job.seed == 2] == [settings.PHASE_0, "siri", "siri_skills_in_prompt"]


# ---- forks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_a_fork_begins_where_phase_0_ended(tmp_path, plain):
    source, target = tmp_path / settings.PHASE_0, tmp_path / "fork"
    machine = phase_0(source)
    assert machine.phase == PHASES[1]
    before = (source / "global_step_4" / "siri_state.json").read_text()
    target.mkdir()
    (target / "log.txt").write_text("a run that died before it began")
    assert plan.fork(source, target, plain=plain)
    state = load_state(plan.newest_checkpoint(target))
    assert state["env_steps"] == 1500 and (target / "global_step_4" / "actor" / "weights").read_text() == "w"
    assert (target / METRICS_FILE).read_text() == (source / METRICS_FILE).read_text()
    # what the trainer makes of it under the method's settings
    resumed = PhaseMachine.from_dict(PhaseSettings(fixed=PHASES[0] if plain else None), state["skills"]["phases"])
    assert resumed.phase == PHASES[0 if plain else 1] and resumed.solved == {"a task"}
    assert (source / "global_step_4" / "siri_state.json").read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {settings.PHASE_0, "fork"}


def test_a_run_that_has_a_checkpoint_is_not_forked_again(tmp_path):
    phase_0(tmp_path / "a")
    phase_0(tmp_path / "b", env_steps=9000, step=9)
    assert not plan.fork(tmp_path / "a", tmp_path / "b", plain=False)
    assert plan.checkpoint_state(tmp_path / "b")["env_steps"] == 9000
    with pytest.raises(FileNotFoundError, match="phase 0 has no checkpoint"):
        plan.fork(tmp_path / "nowhere", tmp_path / "c", plain=False)


# ---- the words of every run ------------------------------------------------------------------------------------------


def test_what_runs_are_started_with_composes_and_differs_in_the_methods_own_settings(tmp_path):
    places = plan.Places(tmp_path)
    with initialize_config_module("verl.trainer.config", version_base=None):
        for name in [settings.PHASE_0, *settings.METHODS]:
            method = settings.METHODS.get(name, settings.Method())
            if method.start == settings.TRAINED:
                with pytest.raises(ValueError, match="trains nothing; it evaluates what siri became"):
                    plan.training_words(WEBSHOP, places, {}, tmp_path, 1, name)
                continue
            words = plan.training_words(WEBSHOP, places, {"store": "/s"}, tmp_path, 101, name, CONTROL, ["siri.seed=7"])
            config = compose("ppo_trainer", overrides=words)
            block = siri_config(config)
            check_algorithm(config)
            check_skills(config, block)
            assert (block.seed, block.budget.env_steps) == (7, WEBSHOP.budget)
            assert block.budget.last_phase == (PHASES[0] if name == settings.PHASE_0 else None)
            assert (block.phases.fixed == PHASES[0]) == method.plain == (name in ("gigpo", "grpo"))
            assert config.algorithm.adv_estimator == ("grpo" if name == "grpo" else "gigpo")
            assert config.trainer.val_before_train == (name in (settings.PHASE_0, "grpo"))
            assert block.mining.random_skills == (name == "siri_random_skills")
            assert block.internalization.gate == (name != "siri_no_gate")
            assert (block.internalization.source == "self_imitation") == (name == "gigpo_self_imitation")
            assert block.control.skills_in_prompt is False
            assert config.trainer.save_freq > 0 and config.trainer.test_freq > 0
    with pytest.raises(ValueError, match="needs the numbers of the siri run of seed 1"):
        plan.training_words(WEBSHOP, places, {}, tmp_path, 1, "gigpo_self_imitation")


def test_dry_run_prints_every_command(capsys, tmp_path):
    assert run.main(["--seeds", "dev", "--methods", "gigpo_self_imitation", "--work", str(tmp_path), "--dry-run",
                     "--trial", "t", "--override", "a.b=1"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert out.count("# seed") == 3 * 3 and out.count("a.b=1") == 9 and "siri (needed)" in out


# ---- results ---------------------------------------------------------------------------------------------------------


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
    log = MetricsLog(tmp_path / METRICS_FILE)
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


# ---- the table -------------------------------------------------------------------------------------------------------


def test_paired_intervals_are_scipys():
    values = {("webshop", m, s): v for m, row in (("siri", [0.6, 0.7, 0.55, 0.62]), ("gigpo", [0.5, 0.58, 0.52, 0.49]))
              for s, v in enumerate(row)}  # fmt: skip
    values["webshop", "siri", 9] = 0.0  # no partner
    found = table.paired(values, "webshop", "siri", "gigpo")
    differences = np.array([0.1, 0.12, 0.03, 0.13])
    low, high = stats.ttest_rel([0.6, 0.7, 0.55, 0.62], [0.5, 0.58, 0.52, 0.49]).confidence_interval(0.95)
    assert found.n == 4 and found.mean == pytest.approx(differences.mean()) and found.t == pytest.approx((low, high))
    theirs = stats.bootstrap((differences,), np.mean, method="percentile", n_resamples=10_000, rng=0)
    interval = theirs.confidence_interval
    assert found.bootstrap == pytest.approx((interval.low, interval.high), abs=0.006)
    assert table.paired(values, "webshop", "grpo", "gigpo") is None
    assert table.interval([0.4]) == table.Interval(1, 0.4, None, None)


def test_area_is_the_mean_height_up_to_a_common_place():
    points = entries("siri", 1, curve=[(0, 0.2), (100, 0.4), (300, 0.4)])[1]["points"]
    assert table.area(points, 100) == pytest.approx(0.3)
    assert table.area(points, 200) == pytest.approx(0.35)
    assert table.area(points[::-1], 600) == pytest.approx((0.3 * 100 + 0.4 * 500) / 600)


def test_aims_need_mean_and_interval():
    aim = table.AIMS[0]
    assert aim.met(table.Interval(5, 0.06, (0.01, 0.11), None))
    assert not aim.met(table.Interval(5, 0.04, (0.01, 0.07), None))
    assert not aim.met(table.Interval(5, 0.06, (-0.01, 0.13), None))
    assert not aim.met(table.Interval(1, 0.06, None, None))
    assert table.AIMS[2].met(table.Interval(3, 0.01, (-0.01, 0.029), None))
    assert not table.AIMS[2].met(table.Interval(3, 0.01, (-0.01, 0.031), None))


def test_table_and_curves_are_written(tmp_path, capsys):
    found = results.Results(tmp_path)
    for seed, base in zip(settings.FINAL_SEEDS, (0.50, 0.52, 0.49, 0.51, 0.50), strict=True):
        for method, gain in (("gigpo", 0.0), ("siri", 0.08 + 0.01 * (seed % 2)), ("siri_skills_in_prompt", 0.2)):
            found.add(
                *entries(method, seed, base + gain, curve=[(0, 0.2), (10_000, 0.3 + gain), (20_100, base + gain)])
            )
    table.main(["--folder", str(tmp_path)])
    text = (tmp_path / "table.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    assert "| `gigpo` | 5 | 0.504" in text
    assert "| siri - gigpo | at least +5 points, interval above 0 | +0.086 (+0.079 to +0.093) | 5 | met |" in text
    assert "| siri_random_skills - gigpo | upper end under +5 points |  | 0 | not run |" in text
    skills = next(line for line in text.splitlines() if line.startswith("| siri_skills_in_prompt - siri"))
    assert skills.endswith("| missed |")
    assert len(table.areas(results.Results(tmp_path), "webshop")) == 10, "a policy counts once"
    assert (tmp_path / "curves_webshop.png").read_bytes()[:4] == b"\x89PNG"


# ---- measuring and entering ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    from siri_verl.data.webshop_demo.generator import MIN_PRODUCTS, generate
    from siri_verl.data.webshop_demo.model import make_model

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
    shutil.copytree(shop / "model", checkpoint / "actor" / "huggingface")
    save_bank(SkillBank(), checkpoint / BANK_FILE)
    words = here.words(plan.Job(101, "siri"), kwargs, model)
    with initialize_config_module("verl.trainer.config", version_base=None):
        save_config(compose("ppo_trainer", overrides=words), folder)
    log = MetricsLog(folder / METRICS_FILE)
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
    assert summary["settings"]["panel"]["split"] == "demo/test" and summary["settings"]["prompting"]["kind"] == "plain"
