# SPDX-License-Identifier: Apache-2.0
"""The presets for GPUs: every combination that the recipes offer composes, passes verl's own checks and dataclasses,
and fits 80 GB by the plan; the others are refused with the reason."""

import copy
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf, open_dict
from support.recipe_commands import training_overrides
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.workers.config import AgentLoopConfig, FSDPEngineConfig, RolloutConfig

from siri_verl.planning.compose import compose_run
from siri_verl.planning.plan import TOO_BIG, plan_run
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.settings import check_settings

RECIPE = Path(__file__).parents[1] / "recipes" / "siri_webshop.sh"
PRESETS = Path(__file__).parents[1] / "siri_verl" / "conf" / "siri"
FACTORS = {
    "MODEL": ("1.5b", "3b", "7b"),
    "GPUS": ("1", "2", "4", "8"),
    "ENGINE": ("fsdp2", "megatron"),
    "ROLLOUT": ("vllm", "sglang"),
    "LORA": ("0", "64"),
    "NNODES": ("1", "2"),
}


MODELS = {
    "qwen3_0.6b": "Qwen/Qwen3-0.6B",
    "qwen3_1.7b": "Qwen/Qwen3-1.7B",
    "qwen3_4b": "Qwen/Qwen3-4B",
    "smollm2": str(RECIPE.parents[1] / "data" / "models" / "smollm2"),
}
"""Further values of MODEL -> path of the model. They differ from the others in nothing but their size."""


def refused(knobs):
    """Megatron with adapters, or with all of 7B's states on one or two GPUs of 80 GB."""
    few = int(knobs["GPUS"]) * int(knobs["NNODES"]) < 4
    return knobs["ENGINE"] == "megatron" and (knobs["LORA"] != "0" or (knobs["MODEL"] == "7b" and few))


def every_combination():
    return [dict(zip(FACTORS, values, strict=True)) for values in itertools.product(*FACTORS.values())]


def covering():
    """A few combinations in which every two values of different factors meet."""
    left = {
        pair
        for a, b in itertools.combinations(FACTORS, 2)
        for pair in itertools.product([(a, v) for v in FACTORS[a]], [(b, v) for v in FACTORS[b]])
    }
    left.discard((("ENGINE", "megatron"), ("LORA", "64")))
    chosen = []
    offered = [knobs for knobs in every_combination() if not refused(knobs)]
    while True:
        gains = [len(left & set(itertools.combinations(knobs.items(), 2))) for knobs in offered]
        if not max(gains):
            break
        best = offered[gains.index(max(gains))]
        left -= set(itertools.combinations(best.items(), 2))
        chosen.append(best)
    assert not left, left
    return chosen


def name(knobs):
    return "-".join(knobs.values())


def dry_run(knobs, *arguments, recipe=RECIPE):
    clean = {key: value for key, value in os.environ.items() if key not in (*FACTORS, "RAY_ADDRESS", "MODEL_PATH")}
    address = {"RAY_ADDRESS": "10.0.0.1:6379"} if knobs.get("NNODES", "1") != "1" else {}
    environment = {**clean, "DRY_RUN": "1", "PRESET": "gpu", **address, **knobs}
    command = ["bash", str(recipe), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def composed(knobs, recipe=RECIPE):
    """The configuration the recipe would start verl with."""
    done = dry_run(knobs, recipe=recipe)
    assert done.returncode == 0, done.stderr
    return compose_run(training_overrides(done.stdout))


def check(knobs, recipe=RECIPE):
    """verl's checks and dataclasses, ours, the plan, and that the knobs arrived."""
    config = composed(knobs, recipe)
    parts, trainer = config.actor_rollout_ref, config.trainer
    accepted = copy.deepcopy(config)
    if importlib.util.find_spec("vllm") is None:
        accepted.actor_rollout_ref.rollout.name = "sglang"  # verl asks vLLM itself for the adapter ranks it knows
    validate_config(accepted, need_reference_policy(config), need_critic(config))
    actor, rollout = omega_conf_to_dataclass(parts.actor), omega_conf_to_dataclass(parts.rollout)
    ref = copy.deepcopy(parts.ref)
    with open_dict(ref):  # as verl/workers/engine_workers.py makes the reference worker's settings
        ref.ppo_mini_batch_size = parts.actor.ppo_mini_batch_size
        for size in ("micro_batch_size", "micro_batch_size_per_gpu", "max_token_len_per_gpu"):
            ref[f"ppo_{size}"] = ref.pop(f"log_prob_{size}", None)
        ref.use_dynamic_bsz = ref.pop("log_prob_use_dynamic_bsz", False)
    reference = omega_conf_to_dataclass(ref)
    settings = siri_settings(config)
    check_settings(config, settings)

    assert actor.strategy == reference.strategy == knobs["ENGINE"] and rollout.name == knobs["ROLLOUT"]
    assert parts.model.path == MODELS.get(knobs["MODEL"], f"Qwen/Qwen2.5-{knobs['MODEL'].upper()}-Instruct")
    assert trainer.device == "cuda"
    assert (trainer.n_gpus_per_node, trainer.nnodes) == (int(knobs["GPUS"]), int(knobs["NNODES"]))
    rank = int(knobs["LORA"])
    assert parts.model.lora_rank == parts.model.lora.rank == rank
    assert parts.actor.use_dynamic_bsz == parts.rollout.log_prob_use_dynamic_bsz, "verl asserts it in the worker"
    made = plan_run(config)
    assert made.verdict != TOO_BIG, made.problems
    assert (made.setup.lora_rank, made.setup.gpus) == (rank, trainer.n_gpus_per_node * trainer.nnodes)


@pytest.mark.parametrize("knobs", covering(), ids=name)
def test_offered_combinations_compose_pass_verls_checks_and_fit(knobs):
    check(knobs)


@pytest.mark.parametrize("values", ["qwen3_0.6b 1 fsdp2 vllm 0 1", "qwen3_4b 2 megatron sglang 0 1"])
def test_other_models_take_the_same_knobs(values):
    check(dict(zip(FACTORS, values.split(), strict=True)))


def test_a_small_pretrained_model_is_fetched_before_a_run_on_gpus():
    done = dry_run({"MODEL": "smollm2", "GPUS": "1"})
    config = compose_run(training_overrides(done.stdout))
    assert config.actor_rollout_ref.model.path == MODELS["smollm2"] and "gguf]'" in done.stdout
    assert f"-m siri_verl data model smollm2 --out {MODELS['smollm2']}" in done.stdout


@pytest.mark.parametrize("values", ["1.5b 1 fsdp2 vllm 64 1", "7b 4 megatron sglang 0 1", "7b 2 fsdp2 sglang 0 1"])
def test_alfworld_takes_the_same_knobs(values):
    check(dict(zip(FACTORS, values.split(), strict=True)), RECIPE.with_name("siri_alfworld.sh"))


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [k for k in every_combination() if not refused(k)], ids=name)
def test_every_offered_combination(knobs):
    check(knobs)


def test_combinations_that_cannot_work_are_refused_and_the_plan_agrees():
    for knobs in every_combination():
        if refused(knobs) and knobs["LORA"] == "0" and knobs["ROLLOUT"] == "vllm" and knobs["NNODES"] == "1":
            done = dry_run(knobs)
            assert done.returncode == 1 and f"on {knobs['GPUS']} GPUs of 80 GB" in done.stderr
            assert "use 4 GPUs or ENGINE=fsdp2" in done.stderr
            made = plan_run(compose_run([f"+siri=[webshop,gpu_megatron,qwen_7b,gpus_{knobs['GPUS']}]"]))
            assert made.verdict == TOO_BIG


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"MODEL": "70b"}, "MODEL=70b: use 1.5b, 3b or 7b (Qwen2.5), qwen3_0.6b, qwen3_1.7b or qwen3_4b, or smollm2"),
        ({"GPUS": "3"}, "GPUS=3: there are settings for 1, 2, 4 and 8"),
        ({"ENGINE": "deepspeed"}, "ENGINE=deepspeed: use fsdp2 or megatron"),
        ({"ROLLOUT": "hf"}, "ROLLOUT=hf: use vllm or sglang"),
        ({"ENGINE": "megatron", "LORA": "64"}, "use ENGINE=fsdp2 or LORA=0"),
        ({"LORA": "yes"}, "LORA=yes: use a rank"),
        ({"NNODES": "0"}, "NNODES=0: use a number of nodes"),
        ({"NNODES": "2", "RAY_ADDRESS": ""}, "set RAY_ADDRESS to the head's address (recipes/multi_node.md)"),
        ({"PRESET": "cpu", "ENGINE": "megatron"}, "ENGINE=megatron: a knob of PRESET=gpu; this run is on the CPU"),
    ],
)
def test_wrong_knobs_are_named_with_what_to_use(knobs, says):
    done = dry_run(knobs)
    assert done.returncode == 1
    assert says in done.stderr
    assert "-m" not in done.stdout


def test_few_gpus_keep_the_optimizer_on_the_host_and_many_do_not():
    for knobs, offloads in (
        ({"MODEL": "7b", "GPUS": "2"}, True),
        ({"MODEL": "7b", "GPUS": "4"}, False),
        ({"MODEL": "3b", "GPUS": "1"}, True),
        ({"MODEL": "3b", "GPUS": "2"}, False),
        ({"MODEL": "1.5b", "GPUS": "1"}, False),
        ({"MODEL": "qwen3_4b", "GPUS": "1"}, True),
        ({"MODEL": "7b", "GPUS": "2", "NNODES": "2"}, False),
        ({"MODEL": "7b", "GPUS": "1", "LORA": "64"}, False),
    ):
        words = dry_run(knobs).stdout
        assert (",offload" in words) == offloads, knobs


def test_other_weights_keep_the_settings_of_their_size():
    words = training_overrides(dry_run({"MODEL": "3b", "GPUS": "8", "MODEL_PATH": "/models/mine"}).stdout)
    assert "+siri=[webshop,gpu,qwen_3b,gpus_8]" in words and "actor_rollout_ref.model.path=/models/mine" in words


def test_a_ray_address_reaches_ray():
    config = composed({"GPUS": "8", "NNODES": "2", "MODEL": "7b"})
    assert config.ray_kwargs.ray_init.address == "10.0.0.1:6379"
    # Ray refuses numbers of CPUs and GPUs beside an address
    assert config.ray_kwargs.ray_init.num_cpus is None and "num_gpus" not in config.ray_kwargs.ray_init


OPEN = (
    "siri.",
    "siri_groups.",  # what a group states of itself (siri_verl/settings/groups.py)
    "algorithm.gigpo.",
    "data.apply_chat_template_kwargs.",
    "actor_rollout_ref.model.override_config.",
    "critic.model.override_config.",
    "actor_rollout_ref.actor.megatron.override_transformer_config.",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.",
    "actor_rollout_ref.ref.fsdp_config.mixed_precision.",
    "critic.fsdp.mixed_precision.",
    "actor_rollout_ref.rollout.engine_kwargs.",
    "ray_kwargs.ray_init.",
)
"""Ours, or dictionaries that verl hands on to others."""
BLOCKS = {
    "actor_rollout_ref.rollout.agent": AgentLoopConfig,
    "actor_rollout_ref.rollout": RolloutConfig,
    "actor_rollout_ref.actor.fsdp_config": FSDPEngineConfig,
    "actor_rollout_ref.ref.fsdp_config": FSDPEngineConfig,
    "critic.fsdp": FSDPEngineConfig,
}
"""Blocks whose dataclass has fields that verl's yaml leaves out."""


def names(block, prefix=""):
    """Full names of all settings of a block."""
    for key, value in block.items():
        if isinstance(value, dict) and value:
            yield from names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_every_key_of_every_preset_is_a_key_of_verl():
    known = set()
    for engine in ("dp", "megatron"):
        config = compose_run([f"model_engine={engine}"])
        known |= set(names(OmegaConf.to_container(config, resolve=False)))
    for path in sorted(PRESETS.glob("*.yaml")):
        if path.name == "sft_cpu.yaml":
            continue  # of verl's other trainer; tests/platform runs it
        block = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        block.pop("defaults", None)
        for key in names(block):
            where, _, field = key.rpartition(".")
            is_field = where in BLOCKS and field in BLOCKS[where].__dataclass_fields__
            if not key.startswith(OPEN) and not is_field:
                assert key in known, f"{path.name}: verl has no setting {key}; look for its new name in verl's config"


NVIDIA_SMI = """#!/usr/bin/env bash
case "$1" in
-L) for ((i = 0; i < FOUND; i++)); do echo "GPU $i: NVIDIA H100 80GB HBM3 (UUID: GPU-$i)"; done ;;
*) for ((i = 0; i < FOUND; i++)); do echo 81559; done ;;
esac
"""


def shell(script, tmp_path, **variables):
    """A script after the recipes' library, on a machine whose nvidia-smi finds $FOUND GPUs."""
    (tmp_path / "nvidia-smi").write_text(NVIDIA_SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    library = RECIPE.parent / "lib"
    before = f'set -euo pipefail; source "{library}/setup.sh"; source "{library}/gpu.sh"; '
    before += f'SIRI=("{sys.executable}" -m siri_verl); '  # as `install` sets it
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "SKIP_INSTALL": "1", **variables}
    command = ["bash", "-c", before + script]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_gpus_and_their_memory_are_found(tmp_path):
    show = 'gpu_groups; echo "${SIZE_GROUPS[*]} $GPU_GIB $GPU_EXTRA"'
    assert shell(show, tmp_path, FOUND="4").stdout.strip() == "gpu qwen_7b gpus_4 79.6 gpu"
    assert shell(show, tmp_path, FOUND="4", GPUS="2", MODEL="1.5b").stdout.strip() == "gpu qwen_1.5b gpus_2 79.6 gpu"
    six = shell(show, tmp_path, FOUND="6")
    assert six.returncode == 1 and "GPUS=6: there are settings for 1, 2, 4 and 8" in six.stderr


def test_the_plan_is_printed_first_and_what_does_not_fit_is_not_started(tmp_path):
    start = 'RUN_DIR="$PWD_/run"; show_plan "+siri=[webshop,gpu,qwen_1.5b,gpus_2]" trainer.nnodes=1; echo started'
    fits = shell(start, tmp_path, FOUND="2", GPU_GIB="80", PWD_=str(tmp_path))
    assert fits.returncode == 0, fits.stdout + fits.stderr
    assert "fits 80 GiB per GPU" in fits.stdout and fits.stdout.strip().endswith("started")
    assert (tmp_path / "run" / "plan.json").is_file()
    small = shell(start, tmp_path, FOUND="2", GPU_GIB="16", PWD_=str(tmp_path))
    assert small.returncode == 1
    assert "does not fit 16 GiB per GPU" in small.stdout
    assert "started" not in small.stdout
    assert "PLAN=0 starts it nevertheless" in small.stderr
    assert shell(start, tmp_path, FOUND="2", GPU_GIB="16", PLAN="0", PWD_=str(tmp_path)).stdout.strip() == "started"


def test_megatron_that_is_not_installed_is_said_before_anything_starts(tmp_path):
    if importlib.util.find_spec("megatron") is not None:
        pytest.skip("it is installed here")
    done = shell(
        "gpu_groups; need_megatron; echo started", tmp_path, FOUND="8", ENGINE="megatron", PYTHON_BIN=sys.executable
    )
    assert done.returncode == 1 and "megatron-core and Megatron-Bridge are not installed in" in done.stderr
