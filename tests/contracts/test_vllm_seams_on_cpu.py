# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""vLLM on the CPU; these run in the virtual environment of recipes/vllm_cpu.sh."""

import inspect

import pytest

from siri_verl.platform import vllm_cpu
from siri_verl.platform.vllm_seams import VLLM_CPU_SEAMS
from siri_verl.seams import problem, resolve

pytestmark = pytest.mark.skipif(
    vllm_cpu.installed_version() is None, reason="vllm-cpu is not installed: bash recipes/vllm_cpu.sh"
)


@pytest.mark.parametrize("seam", VLLM_CPU_SEAMS, ids=lambda seam: seam.target)
def test_seam(seam):
    found = problem(seam)
    assert found is None, found


def test_vllm_still_empties_the_weights_it_repacks():
    # siri_verl/platform/vllm_worker.py exists for this line; drop the extension when vLLM can update such weights
    source = inspect.getsource(resolve("vllm.model_executor.layers.utils:dispatch_cpu_unquantized_gemm"))
    assert "layer.weight = torch.nn.Parameter(torch.empty(0), requires_grad=False)" in source
    called = inspect.getsource(resolve("vllm.model_executor.layers.utils:cpu_unquantized_gemm"))
    assert "layer.cpu_linear(x, weight, bias)" in called


def test_verl_is_answered_with_the_wheel_under_vllms_name():
    from importlib.metadata import version

    from verl.workers.rollout.replica import get_rollout_replica_class

    assert version("vllm") == f"{vllm_cpu.VERSION}+cpu"
    assert get_rollout_replica_class("vllm").__name__ == "CpuVllmReplica"
    assert vllm_cpu.problems() == []
