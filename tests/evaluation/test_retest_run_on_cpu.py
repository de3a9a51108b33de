# SPDX-License-Identifier: Apache-2.0
"""`siri-verl skills retest` on a run's folder: its settings, its bank, a real model on the light engine."""

import json

import pytest
from support.configs import toy_config
from support.tiny_model import make_tiny_model
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import UtilitySettings
from siri_verl.envs.panels import Panel, make_panel, write_dataset
from siri_verl.runs.config import save_config
from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retest") / "run"
    inputs = folder.parent
    make_tiny_model(inputs / "model")
    for split in ("train", "validation"):
        write_dataset(make_panel("toy", {}, split), inputs / f"{split}.parquet")
    overrides = [f"data.train_files={inputs}/train.parquet", f"actor_rollout_ref.model.path={inputs}/model"]
    overrides += ["data.max_prompt_length=512", "data.max_response_length=12", "siri.rollout.max_turns=2"]
    config = toy_config(*overrides)
    save_config(config, folder)
    bank = SkillBank(utility=UtilitySettings(n_eval=3, promote_above=0.1, ema_alpha=0.3))
    bank.add("a coin is to be put away", "read the note", "coin", Provenance("toy-coin-box-attic", "t", 4))
    for i in range(4):
        bank.record(TreatmentEffect("g", "s0001", 0.5, 1.0, 0.5, 4, 4), "toy-coin-box-attic", 5 + i)
    save_bank(bank, folder / "skills.jsonl")
    return folder


def retest(run, *options, code=0):
    arguments = ["skills", "retest", run, "--model", run.parent / "model", *options]
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "220"})
    assert result.exit_code == code, (result.output, result.exception)
    return " ".join(result.output.split())


def test_the_pairs_are_played_and_everything_is_on_disk(run):
    panel = run.parent / "validation.parquet"
    text = retest(run, "--panel", panel, "--pairs", 10, "--seed", 5)
    content = json.loads((run / "retest_model.json").read_text())
    assert "read the note" in text
    assert "retest_model.json" in text
    assert "seed 5" in text
    assert content["sampling"] == {"temperature": 1.0, "top_p": 1.0, "top_k": -1} and content["seed"] == 5
    assert content["model"]["dtype"] == "float32" and content["model"]["weights"] == "as saved"
    (skill,) = content["skills"]
    # A random model never writes an action, so no episode succeeds and the effect is nothing, with little certainty.
    assert skill["success"]["pairs"] == len(content["pairs"]) == 12 and skill["success"]["tasks"] == 4
    assert skill["success"]["effect"] == 0 and skill["success"]["low"] < 0 < skill["success"]["high"]
    assert skill["trained_groups"] == 4 and skill["trained_mean"] == 0.5
    assert all(pair["plain_turns"] == pair["skill_turns"] == 2 for pair in content["pairs"])


def test_what_does_not_fit_together_is_refused(run):
    panel, train = run.parent / "validation.parquet", run.parent / "train.parquet"
    assert "48 tasks were trained on" in retest(run, "--panel", train, code=1)
    moved = ("--set", f"data.train_files={run.parent}/gone.parquet")
    assert "toy-coin-box-attic of its 48 tasks stand in the bank" in retest(run, "--panel", train, *moved, code=1)
    assert "s0009: not among" in retest(run, "--panel", panel, "--skill", "s0009", code=1)
    assert "config.yaml: no such file" in retest(run.parent, "--panel", panel, code=1)
    assert "no such panel file" in retest(run, "--panel", run / "none.json", code=1)
    assert "no such folder" in retest(run, "--panel", panel, "--model", run / "none", code=1)
    assert "expected key.path=value" in retest(run, "--panel", panel, "--set", "oops", code=1)
    other = run.parent / "other.json"
    Panel("toy", ("toy-of-another-store",), {}, "test").write(other)
    unknown = retest(run, "--panel", other, code=1)
    assert f"--panel {other}: 1 of the 1 tasks tried cannot be played" in unknown
    assert "UnknownTaskError: task_id 'toy-of-another-store' is not one of" in unknown
    assert "the run plays toy with " in unknown and "siri-verl data panel" in unknown
    assert "--device gpu: use cpu or cuda" in retest(run, "--panel", run / "none.json", "--device", "gpu", code=1)
    assert "--top-p: top_p=5.0; use a share" in retest(run, "--panel", panel, "--top-p", 5, code=1)
    own_loop = retest(run, "--panel", panel, "--set", "siri.tasks=dataset", code=1)
    assert "played by an agent loop of its own, which runs in the trainer alone" in own_loop


def test_a_bank_without_active_skills_needs_no_model(run, tmp_path):
    wide = SkillBank(BankSettings(max_strategy_chars=900))  # read whatever caps it was made under
    wide.add("c", "s" * 900, "coin", Provenance("some-task", "t", 4))
    save_bank(wide, tmp_path / "empty.jsonl")
    options = ("--bank", tmp_path / "empty.jsonl", "--out", tmp_path / "out.json", "--model", tmp_path / "none")
    text = retest(run, "--panel", run.parent / "validation.parquet", *options)
    assert "no active skill, nothing to test again" in text
    assert json.loads((tmp_path / "out.json").read_text())["skills"] == []
