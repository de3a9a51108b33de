# SPDX-License-Identifier: Apache-2.0
"""The comparison's plan: what is missing, forks of phase 0, and the words of every run. No training here."""

from pathlib import Path

import pytest
from support.comparison_runs import CONTROL, WEBSHOP, comparison, entries, phase_0

from benchmarks.siri_vs_gigpo import plan, run, settings
from siri_verl.core.phases import PHASES, PhaseMachine, PhaseSettings
from siri_verl.planning.compose import compose_run
from siri_verl.runs.checkpoint import load_state
from siri_verl.runs.folder import RunFolder
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.settings import check_settings


def test_methods_and_seeds_are_those_of_the_protocol():
    headline = ("gigpo", "siri", "siri_random_skills", "gigpo_self_imitation")
    others = ("grpo", "siri_no_internalization", "siri_no_gate", "siri_skills_in_prompt")
    wanted = dict.fromkeys(headline, 5) | dict.fromkeys(others, 3)
    assert {name: method.seeds for name, method in settings.METHODS.items()} == wanted
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
    assert RunFolder(target).metrics.read_text() == RunFolder(source).metrics.read_text()
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


def test_what_runs_are_started_with_composes_and_differs_in_the_methods_own_settings(tmp_path):
    places = plan.Places(tmp_path)
    for name in [settings.PHASE_0, *settings.METHODS]:
        method = settings.METHODS.get(name, settings.Method())
        if method.start == settings.TRAINED:
            with pytest.raises(ValueError, match="trains nothing; it evaluates what siri became"):
                plan.training_words(WEBSHOP, places, {}, tmp_path, 1, name)
            continue
        words = plan.training_words(WEBSHOP, places, {"store": "/s"}, tmp_path, 101, name, CONTROL, ["siri.seed=7"])
        config = compose_run(words)
        block = siri_settings(config)
        check_settings(config, block)
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
    assert out.count("# seed") == out.count("a.b=1") == 3 * len(settings.DEV_SEEDS)
    assert "siri (needed)" in out
