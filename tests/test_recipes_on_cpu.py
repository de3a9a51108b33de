# SPDX-License-Identifier: Apache-2.0
"""The recipes: what they hand to verl composes, passes our checks, and differs from SIRI in nothing but its flag."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.method_family import FAMILY
from support.recipe_commands import commands, training_overrides
from typer.testing import CliRunner
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from siri_verl.cli import app
from siri_verl.planning.compose import compose_run
from siri_verl.runs.config import flat_settings
from siri_verl.settings.read import gigpo_settings, siri_settings
from siri_verl.settings.reference import method_groups
from siri_verl.training.preflight.settings import check_settings

RECIPES = Path(__file__).parents[1] / "recipes"
GIGPO = {"siri.method": "gigpo", "siri.phases.fixed": "warm_up"}
GRPO = {"algorithm.adv_estimator": "grpo"}
CHANGES = {
    "siri_webshop.sh": {},
    "gigpo_webshop.sh": GIGPO,
    "grpo_webshop.sh": GIGPO | GRPO | {"siri.method": "grpo"},
    "ablations/random_skills.sh": {"siri.method": "siri_random_skills", "siri.mining.random_skills": True},
    "ablations/empty_context.sh": {"siri.method": "siri_empty_context", "siri.mining.neutral_skills": True},
    "ablations/no_warm_up.sh": {"siri.method": "siri_no_warm_up", "siri.phases.skip": ["warm_up"]},
    "ablations/no_internalization.sh": {
        "siri.method": "siri_no_internalization",
        "siri.phases.skip": ["internalization"],
    },
    "ablations/skills_in_prompt.sh": {"siri.method": "siri_skills_in_prompt", "siri.control.skills_in_prompt": True},
    "ablations/no_gate.sh": {"siri.method": "siri_no_gate", "siri.internalization.gate": False},
    "ablations/no_advantage_weights.sh": {
        "siri.method": "siri_no_advantage_weights",
        "siri.internalization.advantage_weights": False,
    },
    "ablations/grpo_base.sh": GRPO | {"siri.method": "siri_grpo"},
    "ablations/self_imitation.sh": {
        "siri.method": "gigpo_self_imitation",
        "siri.internalization.source": "self_imitation",
        "siri.control.self_imitation_tokens": 120,
        "siri.phases.mining_max_steps": 9,
        "siri.phases.allow_empty": True,
    },
}
"""Script -> settings that are not siri_webshop.sh's."""
GPUS = {"cpu": "", "gpu": "8"}


def dry_run(script, *arguments, preset="cpu", **knobs):
    """What the script says it would run, after the setting up."""
    environment = {**os.environ, "DRY_RUN": "1", "PRESET": preset, **knobs}
    command = ["bash", str(RECIPES / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def overrides(script, *arguments, **knobs):
    """The words after verl's entry point."""
    done = dry_run(script, *arguments, TOKENS="120", MINING_STEPS="9", **knobs)
    assert done.returncode == 0, done.stderr
    return training_overrides(done.stdout)


def composed(words):
    return compose_run(words)


def settings_of(config, name):
    """Every setting, with the run's name taken out of names and folders."""
    content = OmegaConf.to_container(config, resolve=True)
    content.pop("siri_groups")  # names the groups themselves
    settings = flat_settings(content)
    for key, value in settings.items():
        if key.endswith("experiment_name") and value == name:
            settings[key] = "RUN"
        elif isinstance(value, str):
            settings[key] = value.replace(f"runs/{name}", "runs/RUN")
    return settings


@pytest.fixture(scope="module")
def siri():
    runs = {preset: composed(overrides("siri_webshop.sh", preset=preset)) for preset in ("cpu", "gpu")}
    return {preset: settings_of(config, "siri_webshop") for preset, config in runs.items()}


def test_every_script_is_listed_here_and_in_the_readmes():
    scripts = {str(path.relative_to(RECIPES)) for path in [*RECIPES.glob("*.sh"), *RECIPES.glob("ablations/*.sh")]}
    assert scripts == {*CHANGES, "siri_alfworld.sh", "siri_smollm2.sh", "gpu_acceptance.sh", "test.sh", "vllm_cpu.sh"}
    for readme, folder in (("README.md", ""), ("ablations/README.md", "ablations/")):
        named = set(re.findall(r"^\| `(\w+\.sh)`", (RECIPES / readme).read_text(), re.MULTILINE))
        assert named == {Path(name).name for name in scripts if str(Path(name).parent) == (folder.rstrip("/") or ".")}


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
@pytest.mark.parametrize("script", CHANGES)
def test_a_recipe_composes_passes_the_checks_and_changes_its_flag_alone(script, preset, siri):
    words = overrides(script, preset=preset)
    config = composed(words)
    validate_config(config, need_reference_policy(config), need_critic(config))
    settings = siri_settings(config)
    gigpo_settings(config.algorithm)
    check_settings(config, settings)
    assert config.trainer.v1.trainer_mode == "siri" and settings.seed == 1
    name = "siri_webshop" if script == "siri_webshop.sh" else Path(script).stem
    assert config.trainer.experiment_name == name and config.trainer.default_local_dir.endswith(f"runs/{name}")
    mine = settings_of(config, name)
    changed = {key: value for key, value in mine.items() if siri[preset].get(key) != value}
    assert changed == CHANGES[script] and mine.keys() == siri[preset].keys()


@pytest.mark.parametrize(
    "preset, groups", [("cpu", "alfworld,cpu,cpu_small,alfworld_demo"), ("gpu", "alfworld,gpu,qwen_7b,gpus_8")]
)
def test_the_alfworld_recipe_composes_and_validates_on_seen_and_unseen_rooms(preset, groups):
    words = overrides("siri_alfworld.sh", "siri.seed=9", preset=preset, ALFWORLD_GAMES="/some/games")
    assert words[0] == f"+siri=[{groups}]" and words[-1] == "siri.seed=9"
    config = composed(words)
    validate_config(config, need_reference_policy(config), need_critic(config))
    settings = siri_settings(config)
    check_settings(config, settings)
    assert settings.environment.name == "alfworld" and settings.environment.kwargs["data"] == "/some/games"
    assert [Path(name).stem for name in config.data.val_files] == ["valid_seen", "valid_unseen"]
    assert Path(config.data.train_files).stem == "train" and settings.seed == 9
    assert config.trainer.default_local_dir.endswith("runs/siri_alfworld")


def test_the_alfworld_extra_says_that_it_needs_a_compiler(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "cksum", "cut", "dirname", "python3"):
        (tools / name).symlink_to(shutil.which(name))
    environment = {"PATH": str(tools), "VENV": str(tmp_path / "venv"), "PYTHON": "python3", "PRESET": "cpu"}
    command = [shutil.which("bash"), str(RECIPES / "siri_alfworld.sh")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode != 0
    assert "g++ is missing: the extra 'alfworld' compiles its planner with g++, make and cmake" in done.stderr


@pytest.mark.parametrize("script", ["test.sh", "vllm_cpu.sh"])
def test_a_dry_run_of_the_tests_runs_and_changes_nothing(script, tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    python.chmod(0o755)
    done = dry_run(script, "-k", "some", PYTHON=str(python), VENV=str(tmp_path / "venv"), SKIP_INSTALL="0")
    assert done.returncode == 0 and [path.name for path in tmp_path.iterdir()] == ["python"], done.stderr
    assert f"{tmp_path}/venv/bin/python -m pytest -q" in done.stdout and done.stdout.endswith("-k some\n")


def test_every_method_has_a_script_of_its_own():
    scripts = {Path(name).stem.removesuffix("_webshop") for name in CHANGES} - {"siri"}
    ours = {group: method for group, method in method_groups().items() if group not in FAMILY}
    assert scripts == set(ours), "published methods run by METHOD=NAME"
    named = {change["siri.method"] for script, change in CHANGES.items() if change}
    assert named == set(ours.values()), "each group names a method of its own"


def test_the_method_is_a_knob_of_every_environment():
    words = overrides("siri_alfworld.sh", METHOD="no_gate", ALFWORLD_GAMES="/some/games")
    assert words[0] == "+siri=[alfworld,cpu,cpu_small,alfworld_demo,no_gate]"
    assert "trainer.experiment_name=no_gate_alfworld" in words
    done = dry_run("siri_webshop.sh", METHOD="cpu")
    assert done.returncode == 1
    assert "METHOD=cpu: no such method; docs/configuration.md lists them" in done.stderr


def test_arguments_come_last_and_knobs_reach_the_run():
    words = overrides("ablations/no_gate.sh", "siri.internalization.gate=true", SEED="5", EXPERIMENT="mine")
    assert words[-1] == "siri.internalization.gate=true"
    config = composed(words)
    assert siri_settings(config).internalization.gate is True and siri_settings(config).seed == 5
    assert config.trainer.experiment_name == "mine" and config.trainer.default_local_dir.endswith("runs/mine")


def test_a_store_of_ones_own_is_not_taken_for_the_demo_shop():
    demo = overrides("siri_webshop.sh")
    own = overrides("siri_webshop.sh", WEBSHOP_STORE="/a/store", SPLIT="by_product")
    assert demo[0] == "+siri=[webshop,cpu,cpu_small,webshop_demo]" and own[0] == "+siri=[webshop,cpu,cpu_small]"
    assert siri_settings(composed(own)).environment.kwargs["store"] == "/a/store"


def test_the_full_webshop_catalogue_brings_the_extra_that_fetches_it():
    sizes = {"small": ("'.[gpu]'", "data/webshop,"), "full": ("'.[gpu,drive]'", "data/webshop_full,")}
    for size, said in sizes.items():
        done = dry_run("siri_webshop.sh", preset="gpu", WEBSHOP_SIZE=size, GPUS="8")
        assert done.returncode == 0 and all(part in done.stdout for part in said), done.stderr
    done = dry_run("siri_webshop.sh", preset="gpu", WEBSHOP_SIZE="large", GPUS="8")
    assert done.returncode == 1 and "WEBSHOP_SIZE=large: use small (1,000 products) or full" in done.stderr


def test_a_store_of_ones_own_is_cut_by_product_and_a_split_it_lacks_is_refused_at_once(tmp_path):
    assert "split by_product," in dry_run("siri_webshop.sh", WEBSHOP_STORE="/a/store").stdout
    assert "split demo," in dry_run("siri_webshop.sh").stdout
    (tmp_path / "splits").mkdir()
    for name in ("by_product", "official"):
        (tmp_path / "splits" / f"{name}.json").write_text("{}")
    assert dry_run("siri_webshop.sh", WEBSHOP_STORE=str(tmp_path)).returncode == 0
    for preset, knobs, split in (("cpu", {"SPLIT": "demo"}, "demo"), ("gpu", {"GPUS": "8"}, "verl_agent")):
        done = dry_run("siri_webshop.sh", preset=preset, WEBSHOP_STORE=str(tmp_path), **knobs)
        assert done.returncode == 1 and "install" not in done.stdout
        assert f"SPLIT={split}: the store {tmp_path} has by_product, official" in done.stderr
    (tmp_path / "empty").mkdir()
    done = dry_run("siri_webshop.sh", WEBSHOP_STORE=str(tmp_path / "empty"))
    assert done.returncode == 1 and "has no splits; `siri-verl data webshop` makes a store" in done.stderr


def refused(script, tmp_path, preset, **knobs):
    """What a start says that ends before anything is installed."""
    tools = {"VENV": str(tmp_path / "venv"), "PYTHON": "false", "SKIP_INSTALL": "0"}  # `false`: no install may succeed
    done = dry_run(script, preset=preset, DRY_RUN="0", **{"GPUS": "8"} if preset == "gpu" else {}, **tools, **knobs)
    assert done.returncode == 1
    assert not (tmp_path / "venv").exists()
    assert "installing" not in done.stdout
    return done.stderr


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
@pytest.mark.parametrize("script, knob", [("siri_webshop.sh", "WEBSHOP_STORE"), ("siri_alfworld.sh", "ALFWORLD_GAMES")])
def test_data_that_is_not_there_is_refused_before_anything_is_installed(script, knob, preset, tmp_path):
    absent = str(tmp_path / "absent")
    assert f"{knob}={absent}: no such folder" in refused(script, tmp_path, preset, **{knob: absent})


@pytest.mark.parametrize(
    "knobs, says",
    [
        ({"PAIRS": "abc"}, "PAIRS=abc: use a whole number of at least 0; PAIRS=0 leaves the re-test out"),
        ({"SEED": "-1"}, "SEED=-1: use a whole number of at least 0"),
        ({"STEPS": "0"}, "STEPS=0: use a whole number of at least 1"),
        ({"VAL_SIZE": "all"}, "VAL_SIZE=all: use a whole number of at least 1"),
        ({"PLAN": "no"}, "PLAN=no: use 1 or 0"),
        ({"DRY_RUN": "yes"}, "DRY_RUN=yes: use 1 or 0"),
        ({"VERBOSE": "2"}, "VERBOSE=2: use 1 or 0"),
        ({"EXPERIMENT": "a/b"}, "EXPERIMENT=a/b: use letters, digits"),
        ({"RUN_DIR": "/runs/a,b"}, "RUN_DIR=/runs/a,b: has a character of"),
        ({"GPU_GIB": "80GB"}, "GPU_GIB=80GB: use the memory of one GPU in GiB"),
        ({"RETEST_SPLIT": "foo"}, "RETEST_SPLIT=foo: the demo shop has demo/validation and demo/test"),
        ({"RETEST_SPLIT": "demo/train"}, "RETEST_SPLIT=demo/train: these are the tasks of training"),
        ({"RETEST_SPLIT": "demo/dev"}, "RETEST_SPLIT=demo/dev: use a split and a part"),
        ({"SPLIT": "by_product"}, "SPLIT=by_product: the demo shop has the split demo"),
        ({"PYTHON": "python9.9"}, "PYTHON=python9.9: no such command"),
        ({"STEP": "3"}, "STEP=3: no such knob; did you mean STEPS?"),
        ({"PIARS": "3"}, "PIARS=3: no such knob; did you mean PAIRS?"),
        ({"MODELPATH": "x"}, "MODELPATH=x: no such knob; did you mean MODEL_PATH?"),
        ({"WEBSHOP_SIZE": "full"}, "WEBSHOP_SIZE=full: a knob of PRESET=gpu"),
        ({"MODEL": "3b"}, "MODEL=3b: a knob of PRESET=gpu"),
        ({"THREADS": "2"}, "THREADS=2: a knob of MODEL=smollm2 on the CPU"),
        ({"WHEELS": "/absent"}, "WHEELS=/absent: no such folder"),
        ({"TRAIN_SIZE": "0"}, "TRAIN_SIZE=0: use a whole number of at least 1"),
        ({"SHOP": "/shop", "PRESET": "gpu", "GPUS": "8"}, "SHOP=/shop: a knob of PRESET=cpu"),
        ({"RETEST_SPLIT": "official", "PRESET": "gpu", "GPUS": "8"}, "RETEST_SPLIT=official: use a split and a part"),
    ],
)
def test_a_wrong_knob_is_refused_before_anything_is_installed(knobs, says, tmp_path):
    knobs = {"PYTHON": "false", "RUN_DIR": str(tmp_path / "run"), **knobs}
    done = dry_run("siri_webshop.sh", **{"DRY_RUN": "0", "VENV": str(tmp_path / "venv"), "SKIP_INSTALL": "0", **knobs})
    assert done.returncode == 1 and says in done.stderr
    assert not list(tmp_path.iterdir()) and "installing" not in done.stdout


def test_alfworlds_re_test_is_of_seen_or_unseen_rooms(tmp_path):
    assert "RETEST_SPLIT=train: use valid_seen or valid_unseen" in refused(
        "siri_alfworld.sh", tmp_path, "cpu", RETEST_SPLIT="train"
    )


def test_a_knob_of_another_recipe_is_named_and_common_variables_are_none():
    done = dry_run("siri_alfworld.sh", ALFWORLD_GAMES="/games", SPLIT="demo", ENV="x", MODES_OF="1", SHELL="/bin/sh")
    assert done.returncode == 0 and done.stderr == "warning: SPLIT=demo: this recipe does not read it\n"


def test_every_knob_of_the_readme_is_known_and_the_other_way_round(tmp_path):
    listed = library('echo "${KNOBS[@]} ${WEBSHOP_KNOBS[@]} ${ALFWORLD_KNOBS[@]}"', tmp_path).stdout.split()
    table = (RECIPES / "README.md").read_text().split("## Environment variables")[1].split("## Key flags")[0]
    named = [
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([A-Z_]+)`", row)
    ]
    assert sorted(listed) == sorted(named)


def test_a_dry_run_prints_every_command_ready_to_be_pasted(tmp_path):
    done = dry_run(
        "siri_webshop.sh", "siri.seed=3", RUN_DIR=str(tmp_path / "a run"), VENV=str(tmp_path / "venv"), STEPS="2"
    )
    assert done.returncode == 0 and not list(tmp_path.iterdir())
    words = commands(done.stdout)
    python = f"{tmp_path}/venv/bin/python"
    assert words[0] == ["cd", str(RECIPES.parent)] and ["export", "OMP_NUM_THREADS=1"] in words
    of_python = [line[2:4] for line in words if line[:2] == [python, "-m"]]
    train = next(line for line in words if "verl.trainer.main_ppo" in line)
    assert train[-2:] == ["trainer.total_training_steps=2", "siri.seed=3"] and train[0] == python
    assert f"trainer.default_local_dir={tmp_path}/a run" in train
    after = of_python[[first for first, *_ in of_python].index("verl.trainer.main_ppo") + 1 :]
    expected = ["curve", "story", "skills", "skills", "report", "summary"]
    assert after == [["siri_verl", name] for name in expected]
    before = [line for line in words if line[:4] == [python, "-m", "siri_verl", "data"] and line[4] == "panel"]
    assert [line[line.index("--split") + 1] for line in before] == ["demo/train", "demo/validation", "demo/test"]
    # bash reads what was printed as it was meant
    script = f"set -e; {python.replace(str(tmp_path), '.')}() {{ :; }}; cd() {{ :; }}; mkdir() {{ :; }}"
    checked = subprocess.run(["bash", "-n"], input=script + "\n" + done.stdout, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_pips_output_goes_to_the_log_and_its_exit_code_is_kept(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nfor k in 1 2 3; do echo Collecting p$k; echo WARNING: $k; done\nexit ${CODE:-0}\n")
    python.chmod(0o755)
    script = f'LOG="{tmp_path}/run/run.log"; PYTHON_BIN="{python}"; pip_install torch; echo after'
    done = library(script, tmp_path)
    assert re.fullmatch(r"installing: 3 packages in \d+ s\nafter\n", done.stdout), done.stdout + done.stderr
    assert (tmp_path / "run" / "run.log").read_text().count("WARNING") == 3
    failed = library(script, tmp_path, CODE="9")
    assert failed.returncode == 9 and "after" not in failed.stdout
    assert failed.stderr.splitlines()[-2:] == [
        "WARNING: 3",
        f"installing: failed with exit code 9; the whole log: {tmp_path}/run/run.log",
    ]


def test_a_stage_of_a_recipe_names_log_run_and_how_to_go_on(tmp_path):
    script = 'RERUN=$(rerun_command recipes/x.sh a.b="c d"); RUN_DIR=run; stage training some command'
    done = library(script, tmp_path, siri_verl="printf '%s\\n' \"$@\"", SEED="3", VERBOSE="1")
    assert done.stdout.splitlines() == [
        *("stage", "--title", "training", "--log", f"{tmp_path}/run.log"),
        *("--rerun", "SEED=3 VERBOSE=1 bash recipes/x.sh 'a.b=c d'", "--verbose", "--run", "run"),
        *("--", "some", "command"),
    ], done.stderr


@pytest.mark.parametrize("products", ["0", "-5"])
def test_a_demo_shop_without_products_is_refused(products, tmp_path):
    result = CliRunner().invoke(app, ["data", "webshop-demo", "--out", str(tmp_path), "--products", products])
    assert result.exit_code == 1
    assert f"products: got {products};" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
@pytest.mark.parametrize("script", ["siri_webshop.sh", "siri_alfworld.sh"])
def test_a_model_path_that_is_not_there_is_refused_before_anything_is_installed(script, preset, tmp_path):
    for path in (str(tmp_path / "absent"), "./absent", "~/absent"):
        said = refused(script, tmp_path, preset, MODEL_PATH=path, HOME=str(tmp_path))
        assert f"MODEL_PATH={path.replace('~', str(tmp_path))}: no config.json there" in said


def library(script, tmp_path, siri_verl="", **variables):
    """A script after the recipes' library, in an empty folder, with `siri_verl` in place of the command line tool."""
    (tmp_path / "siri-verl").write_text(f"#!/bin/sh\n{siri_verl}\n")
    (tmp_path / "siri-verl").chmod(0o755)
    sources = "".join(f'source "{RECIPES}/lib/{name}.sh"; ' for name in ("setup", "knobs", "gpu", "siri"))
    sources += f'SIRI=("{tmp_path}/siri-verl"); LOG="{tmp_path}/run.log";'
    clean = {key: value for key, value in os.environ.items() if key not in ("DRY_RUN", "MODEL_PATH", "PLAN")}
    environment = {**clean, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **variables}
    command = ["bash", "-c", f'set -euo pipefail; {sources} cd "{tmp_path}"; {script}']
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_a_model_is_made_only_where_none_is_named(tmp_path):
    make = 'PYTHON_BIN=echo; DATA_DIR=$PWD/data; known_model; small_model webshop; echo "uses $MODEL_PATH"'
    named = library(make, tmp_path, MODEL_PATH="Qwen/Qwen2.5-0.5B-Instruct")
    assert named.stdout == "uses Qwen/Qwen2.5-0.5B-Instruct\n", named.stderr
    unnamed = library(make, tmp_path, siri_verl='echo "$*"').stdout
    made = f"{tmp_path}/data/webshop_demo_model"
    assert f"-m siri_verl.demos.webshop.warm_start --out {made}\nuses {made}/model\n" in unnamed


def test_a_gguf_file_is_converted_into_the_data_folder(tmp_path):
    (tmp_path / "tiny.gguf").write_text("")
    file, folder = f"{tmp_path}/tiny.gguf", f"{tmp_path}/data/models/tiny"
    for preset, groups in (("cpu", "webshop,cpu,cpu_small,webshop_demo"), ("gpu", "webshop,gpu,qwen_7b,gpus_8")):
        done = dry_run(
            "siri_webshop.sh", preset=preset, MODEL_PATH=file, DATA_DIR=f"{tmp_path}/data", GPUS=GPUS[preset]
        )
        assert done.returncode == 0, done.stderr
        assert f"-m siri_verl data model {file} --out {folder}" in done.stdout and "gguf]'" in done.stdout
        words = training_overrides(done.stdout)
        assert f"+siri=[{groups}]" in words and f"actor_rollout_ref.model.path={folder}" in words
    said = refused("siri_webshop.sh", tmp_path, "cpu", MODEL_PATH=str(tmp_path / "absent.gguf"))
    assert "absent.gguf: no such file" in said


@pytest.mark.parametrize("script, name", [("siri_smollm2.sh", "webshop"), ("siri_alfworld.sh", "alfworld")])
def test_a_small_pretrained_model_is_warm_started_with_full_prompts(script, name):
    knobs = {"MODEL": "smollm2", "WHEELS": str(RECIPES), "DATA_DIR": "/data", "ALFWORLD_GAMES": "/games"}
    done = dry_run(script, THREADS="1", **knobs if name == "alfworld" else {**knobs, "ALFWORLD_GAMES": ""})
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "smollm2" in line and " -m " in line]
    assert lines[0].endswith(f"-m siri_verl data model smollm2 --out /data/models/smollm2 --wheels {RECIPES}")
    made = f"/data/{name}_smollm2"
    start = f"-m siri_verl.demos.{name}.warm_start --out {made} --model /data/models/smollm2 --threads 1"
    assert lines[1].endswith(start) and f"pip install --no-index --find-links {RECIPES}" in done.stdout
    words = training_overrides(done.stdout)
    config = composed(words)
    validate_config(config, need_reference_policy(config), need_critic(config))
    settings = siri_settings(config)
    check_settings(config, settings)
    assert config.actor_rollout_ref.model.path == f"{made}/model"
    assert (settings.prompt.template, settings.mining.template) == ("full", "full")
    assert settings.prompt.history_length == {"webshop": 2, "alfworld": 12}[name]
    row = config.data.max_prompt_length + config.data.max_response_length
    assert row <= config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu
    threads = config.ray_kwargs.ray_init.runtime_env.env_vars.OMP_NUM_THREADS
    assert (threads, config.actor_rollout_ref.rollout.engine_kwargs.light.num_threads) == ("1", 1)


def test_a_run_without_a_plan_starts_and_one_that_does_not_fit_does_not(tmp_path):
    start = "GPU_GIB=80 RUN_DIR=run MODEL_PATH=some/model; show_plan a=b; echo started"
    for code, starts in ((0, True), (1, False), (2, False), (3, True)):
        done = library(start, tmp_path, siri_verl=f"exit {code}")
        assert (done.stdout == "started\n") == starts == (done.returncode == 0), done.stderr
        assert ("warning: MODEL_PATH=some/model: no plan of memory" in done.stderr) == (code == 3)


def test_the_plan_of_a_model_on_a_hub_has_an_exit_code_of_its_own():
    run = ["plan", "+siri=[webshop,gpu,qwen_7b,gpus_8]"]
    for words, code in (
        (["actor_rollout_ref.model.path=some/model"], 3),
        (["actor_rollout_ref.model.path=/no/model"], 1),
        (["actor_rollout_ref.model.path=some/model", "actor_rollout_ref.rollout.tensor_model_parallel_size=3"], 1),
    ):
        result = CliRunner().invoke(app, [*run, *words])
        assert result.exit_code == code and "error" in result.output, result.output


def test_adapters_with_megatron_are_refused():
    knobs = {"ENGINE": "megatron", "MODEL": "1.5b", "GPUS": "8"}
    done = dry_run("siri_webshop.sh", preset="gpu", LORA="64", **knobs)
    assert done.returncode == 1 and "use ENGINE=fsdp2 or LORA=0" in done.stderr
    assert "ENGINE=megatron LORA=64: its checkpoints hold no model" in done.stderr
    assert dry_run("siri_webshop.sh", preset="gpu", LORA="0", **knobs).returncode == 0
    few = dry_run("siri_webshop.sh", preset="gpu", ENGINE="megatron", MODEL="7b", GPUS="1")
    assert few.returncode == 1 and "use 4 GPUs or ENGINE=fsdp2" in few.stderr


def test_what_a_script_needs_it_says():
    done = dry_run("ablations/self_imitation.sh", TOKENS="many", MINING_STEPS="9")
    assert done.returncode == 1 and "TOKENS=many: use a whole number of at least 1" in done.stderr
    for missing in ("TOKENS", "MINING_STEPS"):
        knobs = {"TOKENS": "1", "MINING_STEPS": "1"} | {missing: ""}
        done = dry_run("ablations/self_imitation.sh", **knobs)
        assert done.returncode != 0
        assert missing in done.stderr
        assert "siri-verl story RUN" in done.stderr
    done = dry_run("siri_webshop.sh", preset="tpu")
    assert done.returncode == 1 and "PRESET=tpu: use cpu, gpu or auto" in done.stderr
