# SPDX-License-Identifier: Apache-2.0
"""The platform verl finds in a fresh process, and what it answers."""

import os
import subprocess
import sys

import pytest
import torch

from siri_verl.platform.cpu import CPU, CpuPlatform, forced


def fresh(code: str, **env: str) -> str:
    """Output of a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


ASK = (
    "import verl; from verl.utils import device as d; "
    "print(d.get_device_name(), d.get_device_id(), d.get_nccl_backend())"
)


def test_verl_chooses_the_cpu_when_it_is_forced():
    assert fresh(ASK, SIRI_PLATFORM="cpu") == "cpu cpu gloo"


@pytest.mark.skipif(torch.cuda.is_available(), reason="an accelerator is present")
def test_verl_chooses_the_cpu_when_there_is_no_accelerator():
    assert fresh(ASK, SIRI_PLATFORM="", VERL_PLATFORM="") == "cpu cpu gloo"


def test_a_platform_named_to_verl_is_respected():
    assert fresh("import verl; from verl.plugin.platform import get_platform as g; print(g().vendor_name)",
                 VERL_PLATFORM="nvidia") == "nvidia"  # fmt: skip


def test_siri_platform_knows_cpu_alone(monkeypatch):
    monkeypatch.setenv("SIRI_PLATFORM", "gpu")
    with pytest.raises(ValueError, match="SIRI_PLATFORM='gpu'.*VERL_PLATFORM"):
        forced()


def test_every_question_of_the_interface_has_an_answer():
    platform = CpuPlatform()  # abstract methods left out would raise here
    assert platform.current_device() == CPU and platform.device_name == "cpu"
    assert platform.ray_resource_options(0.5) == {"num_gpus": 0.5}
    assert platform.get_device_capability() == (None, None)
    assert not platform.is_ipc_supported()
    with platform.nvtx_range("x"):
        platform.synchronize()


def test_device_module_measures_memory_and_keeps_random_state():
    module = CpuPlatform().device_module
    held = torch.ones(50_000_000 // 4)
    free, total = module.mem_get_info()
    assert held.nbytes < module.memory_allocated() <= module.max_memory_allocated() < total
    assert 0 < free < total
    module.manual_seed(1)
    state = module.get_rng_state()
    first = torch.rand(3)
    module.set_rng_state(state)
    assert torch.equal(first, torch.rand(3))
    assert module.get_device_name() == "CPU"
    assert module.current_stream() is not None  # from torch.cpu


def test_peak_flops_of_the_cpu_are_known_to_verl():
    # verl's table names "CPU": perf/mfu is a number, not infinity
    from verl.utils.flops_counter import get_device_flops

    assert get_device_flops(device_name=CpuPlatform().device_module.get_device_name()) < float("inf")
