# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md: names exist with the signatures shown, examples run, and examples/ import public modules only."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

from siri_verl.core.decisions import DecisionBook
from siri_verl.core.internalization import InternalizationSettings
from siri_verl.core.rules import ACTIVE, RETIRED, RULES, UtilitySettings
from siri_verl.core.token_teacher import token_weights
from siri_verl.envs.checker import check_text_env
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.skills.mining import MiningSettings
from siri_verl.skills.mining_prompt import MINING_TEMPLATES, render_mining_prompt
from siri_verl.skills.task_type import TaskTypeSettings, task_typer
from siri_verl.training.gates import GATES, GateInput, gate_named
from siri_verl.trajectory.prompts import TEMPLATES, render_prompt
from siri_verl.trajectory.turn import TurnView

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
REGISTRIES = (RULES, GATES, TEMPLATES, MINING_TEMPLATES, ADV_ESTIMATOR_REGISTRY)


def found(name):
    """The module or attribute with a dotted name."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(name)


def section(title):
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def example(title):
    return re.search(r"^```python\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)[1]


TITLES = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
EXAMPLES = [title for title in TITLES if "```python" in section(title)]
PUBLIC = re.findall(r"`(siri_verl(?:\.\w+)*)`", section("Public names"))


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the example of a section as the module my_parts; what it registers is taken back."""
    for registry in REGISTRIES:
        for name in list(registry):
            monkeypatch.setitem(registry, name, registry[name])
    before = [dict(registry) for registry in REGISTRIES]

    def imported(title):
        (tmp_path / "my_parts.py").write_text(example(title), encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "my_parts", raising=False)
        return importlib.import_module("my_parts")

    yield imported
    sys.modules.pop("my_parts", None)
    for registry, content in zip(REGISTRIES, before, strict=True):
        for name in set(registry) - set(content):
            del registry[name]


# ---- the table -------------------------------------------------------------------------------------------------------


def table():
    for line in TEXT.split("\n\n## ")[0].splitlines():
        if line.startswith("| ") and not line.startswith("| if you want"):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_names_and_signatures_are_the_codes(row):
    _, change, signature, _ = row
    signature = signature.strip("`")
    for name in re.findall(r"`(siri_verl[\w.]*)`", change):
        thing = found(name)
        if signature.startswith("("):
            for function in thing.values() if isinstance(thing, dict) else [thing]:
                assert re.sub(r"(?<=[ (\[])'|'(?=[,)\]=]| =|$)", "", str(inspect.signature(function))) == signature
        elif isinstance(thing, dict):
            assert {type(value).__name__ for value in thing.values()} == {signature}
        assert any(name == public or name.startswith(f"{public}.") for public in PUBLIC), f"{name} is not public"


def test_every_kind_of_part_has_an_example():
    linked = {anchor for row in table() for anchor in re.findall(r"\]\(#([\w-]+)\)", row[0])}
    slugs = {title.lower().replace(" ", "-") for title in EXAMPLES} | {"internalization-method"}
    assert linked == slugs and len(linked) == 10


def test_public_modules_exist():
    assert len(PUBLIC) > 10
    for name in PUBLIC:
        assert inspect.ismodule(found(name)), name


def imports(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("siri_verl"):
            yield node.module


def test_examples_and_pages_import_public_modules_only():
    codes = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("examples/**/*.py")}
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        blocks = re.findall(r"^( *)```python\n(.*?)^ *```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        for number, (_, block) in enumerate(blocks):
            codes[f"{path}, block {number}"] = textwrap.dedent(block)
    for place, code in codes.items():
        for module in imports(code):
            assert any(f"{module}.".startswith(f"{public}.") for public in PUBLIC), f"{place} imports {module}"


# ---- the examples ----------------------------------------------------------------------------------------------------


def test_environment(run):
    run("Environment")
    check_text_env(gymnasium.make("OneDoor-v0", disable_env_checker=True))


@pytest.mark.parametrize("arm", ["plain", "skill"])
def test_agent_loop(run, arm):
    kwargs = {"task_id": "t", "arm": arm, "raw_prompt": [{"role": "user", "content": "open the door"}]}
    kwargs |= {"skill_id": "s", "skill_text": "try left"} if arm == "skill" else {}
    (message,) = run("Agent loop").first_messages(OmegaConf.create({"siri": {"seed": 1}}), kwargs)
    assert ("try left" in message["content"]) == (arm == "skill")
    assert message["content"].endswith("open the door")


def test_prompt_template(run):
    run("Prompt template")
    prompt = render_prompt(TurnView("open the door", "two doors", skill_text="try left"), TEMPLATES["terse"])
    assert prompt.startswith("Hint") and "try left" in prompt and "You act" not in prompt
    config = compose_run(["+siri=[webshop,gpu]", "siri.environment.kwargs.store=none", "siri.prompt.template=terse"])
    assert siri_settings(config).prompt.template == "terse"


def test_task_types(run):
    run("Task types")
    name_of = task_typer(TaskTypeSettings(kind="my_parts:by_colour"))
    assert [name_of("a red door"), name_of("a door")] == ["red", "other"]


def test_miner(run):
    run("Miner")
    assert MiningSettings(template="brief").template == "brief"
    prompt = render_mining_prompt("open", [("two doors " * 20, "left")], MINING_TEMPLATES["brief"])
    assert len(prompt.splitlines()[2]) < 100


def test_decision_rule(run):
    run("Decision rule")
    book = DecisionBook(UtilitySettings(decision="my_parts:sign_rule", n_eval=2))
    book.add("s1", "t")
    book.add("s2", "t")
    assert book.record("s1", 0.5, 1) is None and book.record("s1", 0.5, 2).after == ACTIVE
    assert book.record("s2", -0.5, 1) is None and book.record("s2", 0.0, 2).after == RETIRED


def test_gate(run):
    @dataclass
    class Table:
        usable, skill_missing = np.array([True, True, True]), np.array([False, False, False])
        arm, success = np.array(["skill", "skill", "plain"], dtype=object), np.array([True, False, True])

    run("Gate")
    given = GateInput(Table(), {}, np.zeros(3), frozenset(), 1)
    assert gate_named("my_parts:success_gate")(given, None).tolist() == [True, False, False]


def test_token_weight(run):
    run("Token weight")
    settings = InternalizationSettings(token_weight="my_parts:doubled")
    assert token_weights(settings, torch.tensor([[-3.0, -3.0]]), torch.tensor([[-2.9, -1.0]])).tolist() == [[0.0, 1.0]]


def test_estimator(run):
    run("Estimator")
    advantage, _ = ADV_ESTIMATOR_REGISTRY["centred"](torch.tensor([[0.0, 1.0], [0.0, 3.0]]), torch.ones(2, 2))
    assert advantage.tolist() == [[-1.0, -1.0], [1.0, 1.0]]


def test_internalization_method(tmp_path):
    group = tmp_path / "siri" / "strict_gate.yaml"
    group.parent.mkdir()
    group.write_text(re.search(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1], encoding="utf-8")
    words = [f"hydra.searchpath=[file://{tmp_path}]", "+siri=[webshop,gpu,strict_gate]"]
    settings = siri_settings(compose_run([*words, "siri.environment.kwargs.store=none"]))
    assert (settings.method, settings.internalization.span) == ("siri_strict_gate", "response")
    assert settings.internalization.require_active


def test_verl_imports_a_module_with_all_parts(tmp_path):
    (tmp_path / "my_parts.py").write_text("\n\n".join(map(example, EXAMPLES)), encoding="utf-8")
    code = (
        "import verl; from siri_verl.trajectory.prompts import PromptSettings as P; print(P(template='terse').template)"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": paths, "VERL_USE_EXTERNAL_MODULES": "my_parts"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.stdout.endswith("terse\n"), done.stderr
