# SPDX-License-Identifier: Apache-2.0
"""`siri-verl eval` on a real small model: seeds, resuming, skills, refusals."""

import json
from pathlib import Path

import pytest
import torch
from support.configs import toy_config
from support.toy_player import BAD, CONDITION, GOOD, TRAIN
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import UtilitySettings
from siri_verl.envs.panels import Panel, make_panel, write_dataset
from siri_verl.evaluation.options import EvalOptions
from siri_verl.evaluation.prepare import prepare
from siri_verl.evaluation.protocol import protocol
from siri_verl.evaluation.run import run_evaluation
from siri_verl.evaluation.summary import summarize
from siri_verl.light.policy import Sampling
from siri_verl.runs.config import save_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.saved import SavedRun
from siri_verl.settings.read import siri_settings
from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance
from siri_verl.trajectory.file import TrajectoryFileError, read_trajectories, record_line

KNOWN = TRAIN[:2]
HOW = dict(
    template="compact",
    history_length=3,
    max_prompt_length=120,
    max_response_length=16,
    max_turns=5,
    temperature=1.0,
    concurrent=16,
)


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    path = tmp_path_factory.mktemp("panel") / "known.json"
    Panel("toy", KNOWN, {}, "known").write(path)
    return path


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A bank with a good active skill for coins, a bad one that was retired, and a candidate."""
    bank = SkillBank(utility=UtilitySettings(n_eval=3, promote_above=0.1, ema_alpha=0.3, retire_after=2))
    for strategy, delta in ((GOOD, 1.0), (BAD, -1.0)):
        skill = bank.add(CONDITION, strategy, "coin", Provenance("some-task", "t", 4)).skill
        for i in range(8):
            mean = max(delta, 0.0)
            bank.record(TreatmentEffect("g", skill.skill_id, delta, mean, mean - delta, 4, 4), f"tested-{i}", i)
    path = tmp_path_factory.mktemp("bank") / "skills.jsonl"
    save_bank(bank, path)
    return path


def options(model, panel, **changes):
    return EvalOptions(**{"model": str(model), "panel": panel, "seed": 5, "repeats": 8, **HOW, **changes})


def played(folder):
    return sorted(map(record_line, read_trajectories(folder / "trajectories.jsonl").trajectories))


def evaluate(folder, *arguments, **settings):
    return run_evaluation(prepare(options(*arguments, **settings)), folder)


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(toy_model, panel, tmp_path):
    first = evaluate(tmp_path / "a", toy_model, panel)
    again = evaluate(tmp_path / "b", toy_model, panel)
    other = evaluate(tmp_path / "c", toy_model, panel, seed=6)
    assert played(tmp_path / "a") == played(tmp_path / "b") != played(tmp_path / "c")
    for summary in (first, again, other):
        del summary["about"], summary["settings"]
    assert first == again
    assert first["samples"] == 16
    assert first["tasks"] == 2
    assert first["shares"]["invalid"] < 0.5
    assert 0 < first["success"]["mean"] < 1, "which room is right it can only guess"


def test_the_summary_follows_from_the_trajectories(toy_model, panel, tmp_path):
    said = evaluate(tmp_path, toy_model, panel, repeats=2)
    found = read_trajectories(tmp_path / "trajectories.jsonl")
    assert json.loads((tmp_path / "summary.json").read_text()) == said and said["settings"] == found.settings
    computed = summarize(found.trajectories, max_response_length=16, seed=5)
    assert computed.items() <= said.items()
    assert said["env_steps"] == sum(len(trajectory.turns) for trajectory in found.trajectories)


class Killed(BaseException):
    pass


def test_an_interrupted_evaluation_goes_on_without_playing_anything_twice(toy_model, panel, tmp_path):
    whole = evaluate(tmp_path / "whole", toy_model, panel)
    prepared = prepare(options(toy_model, panel))
    seen = []

    def kill(trajectory):
        seen.append((trajectory.task_id, trajectory.session))
        if len(seen) == 6:
            raise Killed

    with pytest.raises(Killed):
        run_evaluation(prepared, tmp_path / "cut", kill)
    path = tmp_path / "cut" / "trajectories.jsonl"
    assert not (tmp_path / "cut" / "summary.json").exists()
    # A kill in the middle of a write leaves half a line.
    lines = path.read_bytes()
    path.write_bytes(lines + b'{"record": "trajectory", "version": 2, "task_id": "toy-')
    begun = []
    resumed = run_evaluation(prepared, tmp_path / "cut", lambda t: seen.append((t.task_id, t.session)), begun.append)
    assert begun == [6] and len(seen) == len(set(seen)) == 16
    assert path.read_bytes().startswith(lines), "what was there is never written again"
    assert resumed["about"]["episodes_played_now"] == 10
    assert played(tmp_path / "cut") == played(tmp_path / "whole")
    assert resumed["success"] == whole["success"]


def test_a_changed_setting_is_refused_by_name(toy_model, panel, tmp_path):
    evaluate(tmp_path, toy_model, panel, repeats=1)
    before = (tmp_path / "trajectories.jsonl").read_bytes()
    for change, message in (
        (dict(temperature=0.5), "sampling.temperature=1.0, now it is 0.5"),
        (dict(seed=6), "seed=5, now it is 6"),
        (dict(repeats=2), "repeats=1, now it is 2"),
        (dict(history_length=1), "prompting.history_length=3, now it is 1"),
        (dict(env_kwargs={"anchor": "state"}), "environment.kwargs.anchor=not set, now it is 'state'"),
        (dict(prompting="react"), "prompting.kind='plain', now it is 'react'"),
    ):
        with pytest.raises(TrajectoryFileError, match=message):
            evaluate(tmp_path, toy_model, panel, **{"repeats": 1, **change})
    smaller = tmp_path / "smaller.json"
    Panel("toy", KNOWN[:1], {}, "known").write(smaller)
    with pytest.raises(TrajectoryFileError, match="panel.sha256"):
        evaluate(tmp_path, toy_model, smaller, repeats=1)
    assert (tmp_path / "trajectories.jsonl").read_bytes() == before


def test_a_skill_in_the_prompt_changes_what_happens_and_nothing_else(toy_model, panel, bank, tmp_path):
    evaluate(tmp_path / "plain", toy_model, panel)
    helped = evaluate(tmp_path / "bank", toy_model, panel, bank=bank, against=tmp_path / "plain")
    assert helped["skills"]["shown_share"] == 1.0 and helped["skills"]["left_out_share"] == 0.0
    assert set(helped["skills"]["by_skill"]) == {"s0001"}, "the active one"
    effect = helped["against"]["success"]
    assert effect["tasks"] == 2 and effect["effect"] == pytest.approx(effect["this"] - effect["other"])
    assert effect["effect"] > 0, "the model was taught to follow this skill"
    files = [read_trajectories(tmp_path / name / "trajectories.jsonl") for name in ("plain", "bank")]
    plain, shown = ({(t.task_id, t.session): t for t in file.trajectories} for file in files)
    assert {t.arm for t in plain.values()} == {"plain"} and {t.skill_id for t in shown.values()} == {"s0001"}
    assert all(plain[key].env_seed == shown[key].env_seed for key in plain)
    first = {key: (plain[key].turns[0], shown[key].turns[0]) for key in plain}
    assert all(a.observation == b.observation for a, b in first.values())
    assert all(b.prompt_tokens > a.prompt_tokens for a, b in first.values())


def test_a_bank_with_longer_texts_than_the_default_caps_is_played(toy_model, panel, tmp_path):
    caps = BankSettings(max_condition_chars=300, max_strategy_chars=900)
    wide = SkillBank(caps, UtilitySettings(n_eval=2, ema_alpha=1))
    wide.add("c" * 300, GOOD + " x" * 300, "coin", Provenance("some-task", "t", 4))
    for step in (1, 2):
        wide.record(TreatmentEffect("g", "s0001", 1.0, 1.0, 0.0, 4, 4), "tested", step)
    assert wide["s0001"].status == "active"
    save_bank(wide, tmp_path / "wide.jsonl")
    summary = evaluate(tmp_path, toy_model, panel, bank=tmp_path / "wide.jsonl", repeats=1)
    assert set(summary["skills"]["by_skill"]) == {"s0001"}


def cli(*arguments, code=0):
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == code, (result.output, result.exception)
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def run(tmp_path_factory, toy_model):
    """A run's folder: settings, panels, and the model as its newest checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "myrun"
    for split in ("train", "validation"):
        write_dataset(make_panel("toy", {}, split, 4), folder / f"{split}.parquet")
    overrides = [f"data.train_files={folder}/train.parquet", f"data.val_files={folder}/validation.parquet"]
    overrides += [f"actor_rollout_ref.model.path={toy_model}", "data.max_prompt_length=120"]
    overrides += ["data.max_response_length=16", "siri.rollout.max_turns=4", "siri.seed=3"]
    config = toy_config(*overrides)
    save_config(config, folder)
    target = folder / "global_step_7" / "actor" / "huggingface"
    target.mkdir(parents=True)
    for file in toy_model.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    (folder / "latest_checkpointed_iteration.txt").write_text("7")
    return folder


def test_a_run_says_how_its_model_is_to_be_played(run):
    text = cli(run / "global_step_7")
    (folder,) = (run / "eval").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    settings = summary["settings"]
    assert settings["model"]["name"] == "global_step_7" and settings["panel"] == {
        **settings["panel"],
        "split": "validation",
        "tasks": 4,
    }
    assert settings["prompting"]["template"] == "compact" and settings["prompting"]["history_length"] == 3
    assert (settings["max_turns"], settings["max_response_length"], settings["seed"]) == (4, 16, 3)
    # verl's default val_kwargs.temperature.
    assert settings["sampling"]["temperature"] == 0.0 and settings["model"]["dtype"] == "float32"
    assert f"{summary['success']['mean']:.3f}" in text
    assert "at most 4 turns" in text
    assert "summary.json" in text
    assert "resumes after 4 finished episodes" in cli(run / "global_step_7")


@pytest.mark.parametrize("do_sample", [True, False])
def test_a_run_is_sampled_as_its_validation_whatever_do_sample_says(do_sample):
    val = "actor_rollout_ref.rollout.val_kwargs"
    overrides = [f"{val}.temperature=0.7", f"{val}.top_p=0.9", f"{val}.top_k=5", f"{val}.do_sample={do_sample}"]
    config = toy_config(*overrides)
    run = SavedRun(RunFolder(Path()), config, siri_settings(config))
    assert protocol(EvalOptions(model="m"), run).sampling == Sampling(0.7, 0.9, 5)


def test_what_does_not_fit_is_named(run, toy_model, panel, bank, tmp_path):
    out = ("--out", tmp_path / "out")
    assert "4 tasks were trained on" in cli(run, "--panel", run / "train.parquet", *out, code=1)
    assert "no tasks: give --panel" in cli(toy_model, *out, code=1)
    assert "no such folder" in cli(tmp_path / "none", "--panel", panel, code=1)
    assert "no such panel file" in cli(toy_model, "--panel", tmp_path / "none.json", code=1)
    assert "prompting='poetry'" in cli(toy_model, "--panel", panel, "--prompting", "poetry", code=1)
    assert "concurrent=0" in cli(toy_model, "--panel", panel, "--concurrent", 0, code=1)
    assert "repeats=0" in cli(toy_model, "--panel", panel, "-n", 0, code=1)
    assert "split: 'dev' is unknown" in cli(toy_model, "--env", "toy", "--split", "dev", code=1)
    assert "siri.prompt.template='short'" in cli(toy_model, "--panel", panel, "--template", "short", code=1)
    assert "no active skill for the panel's task types (all); active ones are for coin" in cli(
        toy_model, "--panel", panel, "--bank", bank, "--task-type", "single", *out, code=1
    )
    assert "base_url='localhost:8000'" in cli("m", "--endpoint", "localhost:8000", "--panel", panel, *out, code=1)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_sampling_lengths_and_endpoint_are_refused_before_anything_is_written(panel, tmp_path):
    there = ("m", "--endpoint", "http://127.0.0.1:9/v1", "--panel", panel, "--retries", 0, "--out", tmp_path / "out")
    assert "--top-p: top_p=5.0; use a share in (0, 1]" in cli(*there, "--top-p", 5, code=1)
    assert "--temperature: temperature=-1.0; use 0" in cli(*there, "--temperature", -1, code=1)
    assert "--temperature: temperature=nan; use 0" in cli(*there, "--temperature", "nan", code=1)
    assert "--top-k: top_k=-2; use a positive number, or -1" in cli(*there, "--top-k", -2, code=1)
    assert "--max-turns: max_turns=0; use at least 1" in cli(*there, "--max-turns", 0, code=1)
    text = cli(*there, "--max-turns", 9, "--set", "max_turns=4", code=1)
    assert "--set max_turns=4: --max-turns is 9, and the smaller of the two ends an episode" in text
    assert "endpoint.timeout=0.0" in cli(*there, "--timeout", 0, code=1)
    assert not (tmp_path / "out").exists()
    # Nobody listens there: a try without an episode ties nothing down.
    for top_p in (0.8, 0.9):
        text = cli(*there, "--top-p", top_p, code=1)
        assert "127.0.0.1:9/v1/chat/completions" in text and "was started with" not in text
        found = read_trajectories(tmp_path / "out" / "trajectories.jsonl")
        assert found.settings["sampling"]["top_p"] == top_p and not found.trajectories


def test_a_device_or_comparison_that_is_not_there_is_refused_before_anything_is_read(tmp_path):
    words = ("no-model", "--panel", "no-panel", "--out", tmp_path / "out")
    assert "--device gpu: use cpu or cuda" in cli(*words, "--device", "gpu", code=1)
    gone = cli(*words, "--device", "cuda:99", code=1)
    if torch.cuda.is_available():
        assert "--device cuda:99: the CUDA devices here are cuda:0 to" in gone
    else:
        assert "--device cuda:99: PyTorch" in gone and "use --device cpu" in gone
        assert "use --device cpu" in cli(*words, "--device", "cuda", code=1)
    nosuch = cli(*words, "--against", "nosuch", code=1)
    assert "--against nosuch: holds no trajectories.jsonl; give the folder of another evaluation" in nosuch
    assert not (tmp_path / "out").exists()
