# SPDX-License-Identifier: Apache-2.0
"""verl's own vLLM replica and server on the CPU. The engine's worker keeps its weights, and the shared memory is
unlinked. siri_verl/platform/vllm_cpu/register.py registers the replica as ``rollout.name=vllm``."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from verl.workers.rollout.replica import TokenOutput
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica

from siri_verl.failures import require
from siri_verl.platform.vllm_cpu import settings as vllm_cpu

WORKER_EXTENSION = "siri_verl.platform.vllm_cpu.worker.CpuWorkerExtension"


class CpuVllmServer(vLLMHttpServer):
    """verl/workers/rollout/vllm_rollout/vllm_async_server.py"""

    def _get_worker_extension_cls(self) -> str:
        return WORKER_EXTENSION

    def _validate_configs(self) -> None:
        super()._validate_configs()
        vllm_cpu.check_settings(self.config, self.model_config.hf_config)

    async def launch_server(self, *args: Any, **kwargs: Any) -> None:
        """Start the engine."""
        await super().launch_server(*args, **kwargs)
        await asyncio.to_thread(vllm_cpu.unlink_segments)

    async def generate(self, *args: Any, **kwargs: Any) -> TokenOutput:
        """Token in, token out; the reply names the server that wrote it."""
        output = await super().generate(*args, **kwargs)
        output.extra_fields["server"] = str(self.replica_rank)
        return output


class CpuVllmReplica(vLLMReplica):
    """verl's replica over :class:`CpuVllmServer` actors."""

    def __init__(self, *args: Any, **kwargs: Any):
        require()
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(CpuVllmServer)
