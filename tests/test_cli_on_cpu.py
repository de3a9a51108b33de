# SPDX-License-Identifier: Apache-2.0
"""The `siri-verl` command: what it prints, and that it exits non-zero with the reason when something is wrong."""

import errno
import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.panels import Panel
from siri_verl.runs.metrics import MetricsLog
from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance
from siri_verl.training.metrics import validation_metrics

TURNLESS = """
import gymnasium
from siri_verl.envs.base import TextEnv


class Turnless(TextEnv):
    def task_ids(self):
        return ["a"]

    def reset(self, *, seed=None, options=None):
        super(TextEnv, self).reset(seed=seed)
        return "page", {"task": "t", "task_id": "a", "admissible_actions": ["go"]}

    def step(self, action):
        return "page", 1.0, True, False, {"task": "t", "task_id": "a", "admissible_actions": []}


gymnasium.register("siri_verl_tests/Turnless-v0", entry_point=Turnless)
"""


def run(*arguments, code=0):
    """What the command wrote, on both streams; `code` is the exit code it must have."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    return " ".join(result.output.split())


# ---- doctor ----------------------------------------------------------------------------------------------------------


def test_doctor_finds_everything_in_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = run("doctor")
    for part in ("verl 0.9", "SiriTrainer", "gigpo_estimator", "EnvAgentLoop", "LightReplica", "trainer_mode=siri"):
        assert part in text
    assert "siri_verl/Toy-v0" in text
    assert "siri-verl data webshop-demo" in text
    assert "cores" in text
    assert text.endswith("everything is in place")


def test_doctor_exits_non_zero_when_a_seam_of_verl_moved(monkeypatch):
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    monkeypatch.delattr(PPOTrainer, "_balance_batch")
    text = run("doctor", code=1)
    assert "PPOTrainer._balance_batch is gone" in text and "siri_verl/training/trainer.py" in text
    assert text.endswith("1 thing is wrong")


def test_doctor_exits_non_zero_when_an_estimator_is_not_registered(monkeypatch):
    from verl.trainer.ppo import core_algos

    monkeypatch.delitem(core_algos.ADV_ESTIMATOR_REGISTRY, "gigpo")
    assert "wrong registered: estimator gigpo" in run("doctor", code=1)


def test_doctor_exits_non_zero_when_the_plugin_did_not_load(tmp_path):
    # A verl distribution of another version, found first, as an upgrade would leave it.
    folder = tmp_path / "verl-0.10.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: verl\nVersion: 0.10.0\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    command = [sys.executable, "-m", "siri_verl", "doctor"]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert result.returncode == 1
    assert "wrong plugin: verl version: RuntimeError: verl 0.10.0 is installed" in " ".join(result.stdout.split())


def test_doctor_opens_the_stores_it_finds(tmp_path, monkeypatch):
    from siri_verl.doctor import webshop_stores

    (tmp_path / "shop" / "store").mkdir(parents=True)
    (tmp_path / "shop" / "store" / "manifest.json").write_text('{"format": 1, "files": {"products.bin": 5}}')
    (finding,) = webshop_stores(tmp_path)
    assert finding.ok is False and "products.bin: is missing" in finding.value


def test_doctor_counts_alfworld_games_by_split(tmp_path, monkeypatch):
    from siri_verl.doctor import alfworld_games

    (finding,) = alfworld_games(tmp_path)
    assert finding.ok is None and "siri-verl data alfworld-demo" in finding.value
    counts = {"data/mine/json_2.1.1": {"train": 3, "valid_seen": 2}, "data/bare": {"train": 1, "valid_unseen": 0}}
    for root, splits in counts.items():
        for split, count in splits.items():
            (tmp_path / root / split).mkdir(parents=True)
            for number in range(count):
                trial = tmp_path / root / split / "pick" / f"trial_{number}"
                trial.mkdir(parents=True)
                (trial / "game.tw-pddl").write_text("{}")
    bare, mine = sorted(alfworld_games(tmp_path / "data"), key=lambda finding: finding.name)
    assert mine.name.endswith("data/mine")
    assert mine.value == "games: train 3, valid_seen 2"
    assert mine.ok is True
    assert bare.name.endswith("data/bare") and bare.value.startswith("games: train 1, valid_unseen 0; no game.tw-pddl")
    assert bare.ok is False
    monkeypatch.chdir(tmp_path)
    assert "games: train 3, valid_seen 2" in run("doctor", code=1)


# ---- environments and panels -----------------------------------------------------------------------------------------


def test_check_env_plays_and_reports():
    text = run("check-env", "toy", "--set", "max_turns=4", "--episodes", 2)
    assert "toy: " in text and "episodes" in text


def test_check_env_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "turnless_env.py").write_text(TURNLESS)
    monkeypatch.syspath_prepend(tmp_path)
    text = run("check-env", "turnless_env:siri_verl_tests/Turnless-v0", code=1)
    assert "anchor" in text and "success" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check-env", "shop"], "neither a known name (alfworld, toy, webshop"),
        (["check-env", "webshop"], "siri-verl data webshop"),
        (["check-env", "toy", "--set", "max_turns=1"], "max_turns: got 1"),
        (["check-env", "toy", "--set", "colour=1"], "colour"),
        (["check-env", "toy", "--episodes", 0], "--episodes 0: nothing would be played; use at least 1"),
        (["check-env", "toy", "--max-turns", 0], "--max-turns 0: nothing would be played; use at least 1"),
    ],
)
def test_check_env_refuses_wrong_names_and_settings(arguments, says):
    assert says in run(*arguments, code=1)


def test_settings_without_an_equals_sign():
    assert "expected key=value" in run("check-env", "toy", "--set", "max_turns", code=2)


def test_data_panel_writes_the_panel_and_the_file_verl_reads(tmp_path):
    out = tmp_path / "panels" / "train.parquet"
    assert "10 tasks of toy, split train" in run(
        "data", "panel", "toy", "--split", "train", "--size", 10, "--seed", 3, "--out", out
    )
    rows, panel = pq.read_table(out).to_pylist(), Panel.read(out.with_suffix(".json"))
    assert [row["task_id"] for row in rows] == list(panel.task_ids) and len(rows) == 10
    assert {row["agent_name"] for row in rows} == {"siri_env"}
    again = tmp_path / "again.parquet"
    run("data", "panel", "toy", "--split", "train", "--size", 10, "--seed", 3, "--out", again)
    assert Panel.read(again.with_suffix(".json")) == panel


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["shop"], "neither a known name"),
        (["toy", "--split", "test"], "known: train, validation"),
        (["toy", "--split", "train", "--size", "49"], "the panel has 48 tasks"),
        (["webshop"], "setting 'store' is missing"),
        (["webshop", "--set", 'store="/nowhere"'], "/nowhere: no prepared catalogue"),
        (["toy", "--set", "colour=1"], "colour"),
    ],
)
def test_data_panel_refuses_and_leaves_nothing_behind(tmp_path, arguments, says):
    assert says in run("data", "panel", *arguments, "--out", tmp_path / "p.parquet", code=1)
    assert not list(tmp_path.iterdir())


def test_data_panel_refuses_a_file_name_verl_does_not_read(tmp_path):
    assert ".parquet" in run("data", "panel", "toy", "--out", tmp_path / "p.jsonl", code=1)
    assert not list(tmp_path.iterdir())


def test_data_webshop_takes_the_full_catalogue_from_its_official_place(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)  # so that nothing is fetched
    given = ["data", "webshop", "--download", "--out", tmp_path / "store"]
    assert "items_shuffle.json: `pip install gdown`" in run(*given, "--size", "full", code=1)
    assert "only the small catalogue; use source='drive'" in run(*given, "--size", "full", "--source", "hub", code=1)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "axon-rl/webshop: `pip install huggingface_hub`" in run(*given, code=1)


def test_data_webshop_refuses_missing_and_malformed_files(tmp_path):
    out = tmp_path / "store"
    assert "--products and --attributes" in run("data", "webshop", "--out", out, code=1)
    products, attributes = tmp_path / "items.json", tmp_path / "attributes.json"
    given = ["data", "webshop", "--out", out, "--products", products, "--attributes", attributes]
    assert str(products) in run(*given, code=1)
    products.write_text(json.dumps([{"asin": "B000000001"}, 7]))
    attributes.write_text("{}")
    assert str(products) in run(*given, code=1)
    assert not out.exists()


# ---- curve -----------------------------------------------------------------------------------------------------------


def test_curve_prints_a_table_and_draws_a_picture(tmp_path):
    log = MetricsLog(tmp_path / "run" / "metrics.jsonl")
    for step, won in ((0, 1), (5, 6)):
        log.write("validation", step, validation_metrics({"success": [1.0] * won + [0.0] * (8 - won)}))
    text = run("curve", tmp_path / "run")
    assert "0.125" in text
    assert "0.750" in text
    assert (tmp_path / "run" / "learning_curve.png").stat().st_size > 1000
    run("curve", tmp_path / "run", "--out", tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()


def test_curve_of_a_folder_that_is_no_run(tmp_path):
    assert "no such file; give a run's folder" in run("curve", tmp_path / "nothing", code=1)
    MetricsLog(tmp_path / "metrics.jsonl").write("train", 1, {"x": 1})
    assert "holds no validation" in run("curve", tmp_path, code=1)


# ---- skills ----------------------------------------------------------------------------------------------------------


def test_skills_says_what_to_give_instead_of_a_missing_or_damaged_bank(tmp_path):
    missing = tmp_path / "nothing"
    for command in (["list", missing], ["show", missing, "s0001"], ["history", missing, "s0001"]):
        text = run("skills", *command, code=1)
        assert f"{missing}: no such file; give a bank file (skills.jsonl), or a run's or a checkpoint's folder" in text
    assert f"{tmp_path}/skills.jsonl: no such file" in run("skills", "diff", tmp_path, missing, code=1)
    (tmp_path / "skills.jsonl").write_text('{"record": "bank", "version": 7, "records": 0}\n')
    text = run("skills", "list", tmp_path, code=1)
    assert "version 7, this program reads version 1; give a bank file that it wrote" in text


def test_skills_shows_a_bank_with_wider_caps(tmp_path):
    bank = SkillBank(BankSettings(max_condition_chars=300, max_strategy_chars=900))
    bank.add("c" * 300, "s" * 900, "kitchen", Provenance("t", "t_0", 1))
    save_bank(bank, tmp_path / "skills.jsonl")
    assert "1 candidate" in run("skills", "list", tmp_path)
    assert "s0001" in run("skills", "show", tmp_path, "s0001")


def test_skills_list_refuses_a_status_that_there_is_not(tmp_path):
    save_bank(SkillBank(), tmp_path / "skills.jsonl")
    assert "0 candidate" in run("skills", "list", tmp_path, "--status", "active")
    text = run("skills", "list", tmp_path, "--status", "bogus", code=1)
    assert text == "error skills list: status 'bogus', use one of candidate, active, retired, internalized"


def leaves(command, words=()):
    """(words, command) of every command below."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(words, command)]
    return [leaf for name, below in inner.items() for leaf in leaves(below, (*words, name))]


COMMANDS = leaves(get_command(app))


def classes(root=Exception):
    """Every exception of Python and of siri_verl, where its modules are imported."""
    ours = root.__module__ == "builtins" or root.__module__.startswith("siri_verl.")
    return {kind for below in root.__subclasses__() for kind in classes(below)} | ({root} if ours else set())


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS], ids=" ".join)
def test_every_command_ends_in_one_line_whatever_is_raised(monkeypatch, words):
    root = get_command(app)
    command = dict(leaves(root))[words]
    monkeypatch.setattr(command, "parse_args", lambda context, args: [])
    monkeypatch.setattr("typer.testing._get_command", lambda app: root)
    monkeypatch.delenv("SIRI_TRACEBACK", raising=False)
    for kind in sorted(classes() - {BrokenPipeError, ExceptionGroup}, key=str):
        error = kind.__new__(kind, "first\nsecond")
        error.args = ("first\nsecond",)

        def refuse(context, error=error):
            raise error

        monkeypatch.setattr(command, "invoke", refuse)
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == 1, kind
        assert result.stdout == "" and result.stderr.startswith("error "), (kind, result.output)
        assert "".join(str(error).split()) in "".join(result.stderr.split()), (kind, result.output)
        if kind.__module__ == "builtins":
            assert result.stderr.count("\n") == 1 and kind.__name__ in result.stderr, (kind, result.stderr)
    monkeypatch.setenv("SIRI_TRACEBACK", "1")
    assert CliRunner().invoke(app, list(words)).exception is error


def test_an_environment_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "bad_env.py").write_text("x = undefined_name")
    monkeypatch.syspath_prepend(tmp_path)
    result = CliRunner().invoke(app, ["check-env", "bad_env:X-v0"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "name 'undefined_name' is not defined" in result.stderr, result.stderr


def test_a_reader_that_goes_away_is_no_error(monkeypatch):
    root = get_command(app)

    def write(context):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(dict(leaves(root))["doctor",], "invoke", write)
    monkeypatch.setattr("typer.testing._get_command", lambda app: root)
    assert CliRunner().invoke(app, ["doctor"]).stderr == ""
