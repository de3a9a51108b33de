# SPDX-License-Identifier: Apache-2.0
"""The documentation against the code: links, commands, settings, groups, quoted messages, numbers, examples."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from siri_verl.cli import app
from siri_verl.core.gigpo import GigpoSettings
from siri_verl.planning.architecture import KNOWN
from siri_verl.planning.compose import compose_run
from siri_verl.planning.memory import GIB, host, phases
from siri_verl.planning.plan import TOO_BIG_ABOVE, plan_run
from siri_verl.settings.read import siri_settings
from siri_verl.settings.reference import CONF, reference
from siri_verl.settings.schema import SiriSettings
from siri_verl.settings.texts import field_texts
from siri_verl.training.preflight.settings import check_settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("recipes/**/*.md"), *ROOT.glob("examples/**/*.md")])
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def named(path):
    return str(path.relative_to(ROOT))


def nav_entries(part):
    """Titles and files of a part of the navigation."""
    for title, value in part.items():
        if isinstance(value, list):
            for entry in value:
                yield from nav_entries(entry)
        else:
            yield title, value


def test_the_navigation_has_every_page_once():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = [file for part in site["nav"] for _, file in nav_entries(part)]
    there = {path.name for path in DOCS.glob("*.md")}
    assert len(set(listed)) == len(listed)
    assert set(listed) == there, (
        f"mkdocs.yml, nav: add {sorted(there - set(listed))}, drop {sorted(set(listed) - there)}"
    )


def test_a_page_has_one_name():
    """In its title, the navigation and the table of docs/index.md."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    entries = {file: title for part in site["nav"] for title, file in nav_entries(part)}
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for file, title in entries.items():
        if file != "index.md":
            assert (DOCS / file).read_text(encoding="utf-8").startswith(f"# {title}\n"), file
            shown = title.removeprefix("API: ")
            assert f"[{shown}]({file})" in index, f"docs/index.md: link {file} as {shown!r}"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="pip install -e '.[docs]'")
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "index.html").is_file() and (tmp_path / "site" / "configuration.html").is_file()


def headings(text):
    """Anchors as GitHub and mkdocs make them of headings."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower()) for title in found}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{named(page)} links to {target}, which does not exist"
        if anchor and file.suffix == ".md":
            known = headings(file.read_text(encoding="utf-8"))
            assert anchor in known, f"{named(page)} links to {target}; headings there: {sorted(known)}"


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("benchmarks/*/README.md"))], ids=named)
def test_paths_in_the_text_exist(page):
    """Files of the repository; a name in capitals, `...` or a star stands for others. Gymnasium ids are no paths."""
    folders = "siri_verl|tests|recipes|examples|benchmarks|docs"
    for path in re.findall(rf"(?<![\w./-])((?:{folders})/[\w./*-]*)", page.read_text(encoding="utf-8")):
        path = path.rstrip(".")
        if not re.search(r"\.\.\.|/[A-Z]+(/|$)|-v\d+$", path):
            assert list(ROOT.glob(path.rstrip("/"))), f"{named(page)}: there is no {path}"


# ---- what is quoted from the code ------------------------------------------------------------------------------------


@cache
def strings():
    """Every piece of text in the source, white space made single."""
    found = []
    for path in ROOT.glob("siri_verl/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(" ".join(node.value.split()))
    return found


def quoted_messages():
    return re.findall(
        r"^```text\n(.*?)^```", (DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.mark.parametrize("message", quoted_messages(), ids=lambda message: message[:30])
def test_every_quoted_message_is_one_of_the_codes(message):
    pieces = [" ".join(piece.split()).strip(" :;") for piece in message.split("…")]
    pieces = [piece for piece in pieces if len(piece) > 4]
    assert pieces, message
    for piece in pieces:
        assert any(piece in text for text in strings()), (
            f"docs/troubleshooting.md quotes {piece!r}, which is not in the code"
        )


def test_the_configuration_reference_is_not_stale():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert text == reference(), "docs/configuration.md is stale: run `siri-verl docs`"


def every_block(name, schema):
    yield name, schema
    for field in fields(schema):
        value = getattr(schema(), field.name)
        if is_dataclass(value):
            yield from every_block(f"{name}.{field.name}", type(value))


BLOCKS = dict([*every_block("siri", SiriSettings), *every_block("algorithm.gigpo", GigpoSettings)])


def test_every_setting_says_what_it_means_and_is_in_the_reference():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for name, schema in BLOCKS.items():
        assert f"## `{name}`" in text
        for field in fields(schema):
            if f"{name}.{field.name}" not in BLOCKS:
                assert field_texts(schema)[field.name][1], f"{name}.{field.name} has no string under it"
                assert f"| `{field.name}` |" in text


def settings_named_in(text):
    """Full names in a block of ours, or with a value behind them."""
    for name, sign in re.findall(r"(?<![\w./-])((?:siri|algorithm\.gigpo)(?:\.[a-z_]+)+)(=?)(?![\w*(/])", text):
        block = name.rpartition(".")[0]
        if sign or (block in BLOCKS and block != "siri"):
            yield name, block


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_settings_named_in_the_text_exist(page):
    for name, block in settings_named_in(page.read_text(encoding="utf-8")):
        if not block.startswith("siri.environment.kwargs"):
            known = {field.name for field in fields(BLOCKS[block])} if block in BLOCKS else set()
            assert name.rpartition(".")[2] in known, f"{named(page)}: there is no setting {name}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_groups_named_in_the_text_exist(page):
    known = {path.stem for path in CONF.glob("*.yaml")}
    for listed in re.findall(r"\+siri=\[?([\w.,]+)", page.read_text(encoding="utf-8")):
        for name in listed.rstrip(".").split(","):
            assert name in known or name in ("...", "") or name.isupper(), f"{named(page)}: there is no group {name!r}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_the_text_exist(page):
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"(?:^|`)siri-verl ([^`\n]*)", text, re.MULTILINE)
    for line in lines:
        line = line.split(" #")[0].split(" |")[0].strip().rstrip(":.;,")
        try:
            words = shlex.split(line.split("\\|")[0])
        except ValueError:
            continue  # a command that goes on in the next line
        group = get_command(app)
        while words and hasattr(group, "commands"):
            name = words.pop(0)
            if name.startswith("-") or name.isupper() or "|" in name:
                break
            assert name in group.commands, f"{named(page)}: siri-verl has no command {line!r}"
            group = group.commands[name]
        options = {option for parameter in group.params for option in parameter.opts} | {"--help"}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options, f"{named(page)}: {line!r}: no option {word}"


def training_commands():
    """Page, and the words after `verl.trainer.main_ppo` of every command that is written out in full."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^[^\n-]*python -m verl\.trainer\.main_ppo ([^\n]*)", text, re.MULTILINE):
            if "..." not in line:
                yield page, shlex.split(line.replace("$PWD", str(ROOT)), comments=True)


def test_there_are_training_commands_written_out_in_full():
    assert {page.name for page, _ in training_commands()} >= {"quick_start.md", "environments.md"}


@pytest.mark.parametrize(("page", "words"), training_commands(), ids=lambda value: getattr(value, "name", ""))
def test_training_commands_in_the_text_are_accepted(page, words):
    config = compose_run(words)
    validate_config(config, need_reference_policy(config), need_critic(config))
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    actor.validate(config.trainer.n_gpus_per_node, config.data.train_batch_size)
    settings = siri_settings(config)
    check_settings(config, settings)
    assert config.trainer.total_training_steps, f"{named(page)}: says when the run ends"
    # what verl leaves at a value that hardly anybody wants
    assert config.trainer.test_freq > 0 and config.trainer.save_freq > 0
    assert "gsm8k" not in config.trainer.default_local_dir


# ---- numbers and examples --------------------------------------------------------------------------------------------


def test_the_table_of_memory_is_the_plans():
    made = {name: plan_run(compose_run([f"+siri=[webshop,{name},qwen_7b,gpus_8]"])) for name in ("gpu", "gpu_megatron")}
    servers = made["gpu"].host["environment servers"]

    def cells(engine, arch, gpus, **values):
        sizes = {"gpus": gpus, "gpus_per_node": gpus, "shard": gpus}
        if engine == "gpu_megatron":
            sizes["tensor"] = min(2, gpus)
        setup = replace(made[engine].setup, **sizes, **values)
        sums = {name: sum(parts.values()) for name, parts in phases(arch, setup, 80 * GIB).items()}
        if max(sums.values()) > TOO_BIG_ABOVE * 80 * GIB:
            return "no", ""
        return f"{sums['update'] / GIB:.0f}", f"{(sum(host(arch, setup).values()) + servers) / GIB:.0f}"

    offload = {"offload_policy": True, "offload_weights": False, "offload_optimizer": False}
    rows = re.findall(r"^\| ([\d.]+b) \| (\d) \| (.*) \|$", (DOCS / "hardware.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 12
    for model, count, rest in rows:
        said, gpus = [cell.strip() for cell in rest.split("|")], int(count)
        arch = KNOWN[f"Qwen/Qwen2.5-{model.upper()}-Instruct"]
        offloads = said[0].endswith(" (offload)")
        full = cells("gpu", arch, gpus, **(offload if offloads else {}))
        assert (said[0].removesuffix(" (offload)"), said[1]) == full != ("no", ""), (model, gpus)
        assert (said[2], said[3]) == cells("gpu", arch, gpus, lora_rank=64) != ("no", ""), (model, gpus)
        assert (said[4], said[5]) == cells("gpu_megatron", arch, gpus), (model, gpus)


def test_the_environment_in_the_text_is_the_examples():
    text = (DOCS / "environments.md").read_text(encoding="utf-8")
    shown = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    file = (ROOT / "examples" / "own_environment" / "guess_number.py").read_text(encoding="utf-8")
    assert shown == file.split("\n", 1)[1], "copy the example into docs/environments.md"
