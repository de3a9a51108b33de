# SPDX-License-Identifier: Apache-2.0
"""The parts of recipes/gpu_acceptance.sh: numbers, limits, verdict and table; slow: the whole recipe on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.recipe_commands import training_overrides
from transformers import AutoModelForCausalLM

from siri_verl.acceptance.device import Device, find_device
from siri_verl.acceptance.model import write_random_model
from siri_verl.acceptance.parity import compare
from siri_verl.acceptance.report import collect, table
from siri_verl.acceptance.speed import stages
from siri_verl.planning.architecture import Architecture
from siri_verl.planning.compose import compose_run
from siri_verl.runs.config import save_config
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.settings import check_settings

ROOT = Path(__file__).parents[2]
DEVICE = Device("a card", 80 << 30, 100e12, 1e12, 90e12, 0.9e12, "data sheet")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random") / "model"
    write_random_model(folder, "tiny")
    return folder


def test_bfloat16_is_within_the_bounds_and_not_equal(model):
    found = compare(model, "cpu", torch.bfloat16)
    assert found["outside"] == [] and found["dtype"] == "bfloat16"
    assert 0 < found["values"]["log_prob_mean"] and found["values"]["gradient_cosine"] < 1
    exact = compare(model, "cpu", torch.float32)
    assert exact["outside"] == [] and exact["values"]["log_prob_max"] < 1e-5


def test_a_server_with_other_weights_is_outside_the_bounds(model, monkeypatch):
    import siri_verl.light.model as light

    real = light.load_model

    def damaged(*arguments):
        made = real(*arguments)
        made.model.layers[0].mlp.up_proj.weight.data.add_(0.3)
        return made

    monkeypatch.setattr(light, "load_model", damaged)
    assert "log_prob_mean" in compare(model, "cpu", torch.float32)["outside"]


def test_the_random_model_has_the_sizes_of_qwen2_5(tmp_path):
    from transformers import Qwen2Config

    from siri_verl.acceptance.model import SIZES

    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(Qwen2Config(**SIZES["0.5b"], tie_word_embeddings=True))
    assert sum(p.numel() for p in made.parameters()) == 494_032_768


def test_limits_are_counted_by_hand():
    arch = Architecture("a", 10, 4, 8, 2, 2, 1, 2, tied=True, qkv_bias=False, counted=1_000_000)
    metrics = {
        "perf/total_num_tokens": 900.0, "siri/generated_tokens": 100.0, "prompt_length/mean": 80.0,
        "response_length/mean": 10.0, "timing_s/gen": 2.0, "timing_s/old_log_prob": 0.5, "timing_s/update_actor": 1.0,
    }  # fmt: skip
    generation, log_probs, update = stages(metrics, arch, DEVICE, sessions=4, width=2)
    assert (generation.tokens, generation.per_second, log_probs.per_second) == (100, 50, 1800)
    # 2 layers x 2 x 1 head x 2 values; context 80 + 5
    step = 2 * (1_000_000 + 4 * 85 * 8) / 1e12
    assert generation.least == pytest.approx(800 * 2e6 / 100e12 + 25 * step)
    assert log_probs.share == pytest.approx(900 * 2e6 / 100e12 / 0.5)
    assert update.least == pytest.approx(900 * 6e6 / 100e12)


def test_a_device_is_measured():
    found = find_device("cpu")
    assert found.source == "measured" and found.flops > 1e9 and found.bandwidth > 1e8


@pytest.fixture
def results(tmp_path, model):
    """The recipe's folder after a run whose plan was 10 GiB."""
    (tmp_path / "steps.tsv").write_text("tests\t0\t12\nnumbers\t0\t3\n")
    values = {"log_prob_mean": 0.01, "log_prob_max": 0.2, "loss": 0.01, "gradient_cosine": 0.99}
    bounds = {"log_prob_mean": 0.05, "log_prob_max": 1.0, "loss": 0.05, "gradient_cosine": 0.98}
    parity = {"device": "cuda", "dtype": "bfloat16", "values": values, "bounds": bounds, "outside": []}
    (tmp_path / "parity.json").write_text(json.dumps(parity))
    run = tmp_path / "random_qwen2"
    run.mkdir()
    words = ["+siri=[webshop,gpu,gpus_1,acceptance]", f"actor_rollout_ref.model.path={model}"]
    save_config(compose_run([*words, "siri.environment.kwargs.store=x", "data.train_files=x", "data.val_files=x"]), run)
    phases = {
        "rollout": {"rollout engine": 48 << 30},
        "update": {"weights": 10 << 30, "sleeping rollout engine": 2 << 30},
    }
    (run / "plan.json").write_text(json.dumps({"phases": phases}))
    metrics = {
        "perf/total_num_tokens": 9000.0, "siri/generated_tokens": 1000.0, "prompt_length/mean": 80.0,
        "response_length/mean": 10.0, "timing_s/gen": 2.0, "timing_s/old_log_prob": 0.5, "timing_s/update_actor": 1.0,
        "timing_s/step": 4.0, "siri/valid_share": 0.0, "training/rollout_probs_diff_max": 0.02,
        "training/rollout_probs_diff_mean": 0.001, "actor/perf/max_memory_allocated_gb": 7.5,
    }  # fmt: skip
    lines = [json.dumps({"step": k, "kind": "train", "metrics": metrics}) for k in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_good_machine_is_accepted_and_its_table_names_every_number(results):
    found = collect(results, DEVICE, ["random_qwen2"])
    assert found["problems"] == []
    text = table(found)
    for part in (
        "a card: 100 TFLOP/s and 1000 GB/s by data sheet; measured 90 and 900",
        "| bfloat16 against float32 on the CPU: loss | 0.01 | 0.05 |",
        "| random_qwen2: peak memory of the trainer | 7.5 GiB | planned 10.0 GiB |",
        "| random_qwen2: generation | 500 tokens/s |",
        "probabilities of vllm and actor differ by | 0.001, at most 0.02 |",
    ):
        assert part in text
    assert text.endswith("\naccepted\n")


@pytest.mark.parametrize("trouble", ["step", "bound", "memory", "iterations", "run", "numbers"])
def test_every_trouble_is_named(results, trouble):
    run = results / "random_qwen2" / "metrics.jsonl"
    parity = results / "parity.json"
    if trouble == "step":
        (results / "steps.tsv").write_text("tests\t1\t12\n")
        says = "tests: exit code 1"
    elif trouble == "bound":
        parity.write_text(parity.read_text().replace('"outside": []', '"outside": ["loss"]').replace(": 0.01", ": 0.5"))
        says = "loss 0.5, bound 0.05"
    elif trouble == "memory":
        run.write_text(run.read_text().replace(": 7.5", ": 11.0"))
        says = "random_qwen2: peak of 11.0 GiB, planned 10.0 GiB"
    elif trouble == "iterations":
        run.write_text("".join(run.read_text().splitlines(keepends=True)[:2]))
        says = "random_qwen2: 2 of 3 iterations"
    elif trouble == "run":
        run.unlink()
        says = "random_qwen2: left no metrics"
    else:
        parity.unlink()
        says = "numbers were not compared"
    found = collect(results, DEVICE, ["random_qwen2"])
    assert found["problems"] == [says] and table(found).endswith(f"not accepted: {says}\n")


def recipe(**variables):
    clean = {k: v for k, v in os.environ.items() if k not in ("DEVICE", "OUT", "ROLLOUT", "WHEELS", "VENV")}
    python = {"SKIP_INSTALL": "1", "PYTHON": sys.executable}
    command = ["bash", str(ROOT / "recipes" / "gpu_acceptance.sh")]
    environment = {**clean, **python, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1500)


@pytest.mark.parametrize("device, runs", [("cuda", 2), ("cpu", 1)])
def test_the_recipes_runs_compose_and_pass_the_checks(device, runs):
    done = recipe(DRY_RUN="1", DEVICE=device)
    assert done.returncode == 0, done.stderr
    trained = [line for line in done.stdout.splitlines() if "verl.trainer.main_ppo" in line]
    assert len(trained) == runs
    words = [training_overrides(line) for line in trained]
    assert len({tuple(w for w in run if "random_qwen2" not in w and "smollm2" not in w) for run in words}) == 1
    if device == "cuda":  # the other is composed where it runs
        config = compose_run(words[0])
        settings = siri_settings(config)
        check_settings(config, settings)
        assert config.trainer.total_training_steps == 3 and settings.phases.mining_max_steps == 1
    assert "WHEELS" not in done.stdout and f"-m siri_verl.acceptance.report --out {ROOT}" in done.stdout


def test_a_wrong_device_and_an_earlier_result_are_refused(tmp_path):
    assert "DEVICE=tpu: use cuda or cpu" in recipe(DEVICE="tpu", DRY_RUN="1").stderr
    (tmp_path / "steps.tsv").write_text("")
    assert "holds an earlier result" in recipe(DEVICE="cpu", OUT=str(tmp_path)).stderr


@pytest.mark.slow
def test_the_recipe_runs_on_a_cpu(tmp_path):
    done = recipe(DEVICE="cpu", OUT=str(tmp_path / "out"), DATA_DIR=str(tmp_path / "data"), SIRI_PLATFORM="cpu")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found = json.loads((tmp_path / "out" / "acceptance.json").read_text())
    assert found["problems"] == [] and found["runs"]["random_qwen2"]["iterations"] == 3
    assert found["runs"]["random_qwen2"]["probability_difference_max"] < 1e-4
    assert [stage["stage"] for stage in found["runs"]["random_qwen2"]["stages"]] == [
        "generation",
        "log-probs",
        "update",
    ]
    assert (tmp_path / "out" / "acceptance.md").read_text() in done.stdout
