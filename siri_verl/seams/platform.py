# SPDX-License-Identifier: Apache-2.0
"""The seams of verl that the CPU platform and the light rollout depend on; see :mod:`siri_verl.seams.training`."""

from __future__ import annotations

from siri_verl.seams.seam import Seam

FSDP = "verl.workers.engine.fsdp.transformer_impl"
ENGINE = "siri_verl/platform/engine.py"
REPLICA = "siri_verl/light/replica.py"
SERVER = "siri_verl/light/server.py"
VLLM_CPU = "siri_verl/platform/vllm_cpu/register.py"

PLATFORM_SEAMS: tuple[Seam, ...] = (
    Seam(
        "verl.plugin.platform:PlatformRegistry.register",
        ("platform",),
        "siri_verl/platform/cpu.py",
        "register CpuPlatform the way verl now registers platforms",
    ),
    Seam(
        "verl.plugin.platform.platform_manager:_detect_platform_name",
        (),
        "siri_verl/platform/cpu.py",
        "make sure that a registered platform is still tried after verl's own, before the fall-back to nvidia",
    ),
    Seam(
        "verl.utils.distributed:initialize_global_process_group_ray",
        ("timeout_second", "backend"),
        "siri_verl/platform/process_group.py",
        "hand the backend 'cpu:gloo' to whatever now initialises the process group of a Ray worker; drop the wrapper "
        "if verl no longer names cpu twice",
        source=('f"cpu:gloo,{get_device_name()}:{get_nccl_backend()}"',),
    ),
    Seam(
        "verl.utils.distributed:initialize_global_process_group",
        ("timeout_second",),
        "siri_verl/platform/process_group.py",
        "repeat what verl now does here, with the backend 'cpu:gloo'; drop the wrapper if it takes a backend",
        source=('f"cpu:gloo,{get_device_name()}:{get_nccl_backend()}"',),
    ),
    Seam(
        "verl.workers.engine.base:EngineRegistry.register",
        ("model_type", "backend", "device", "vendor"),
        ENGINE,
        "register the CPU engines the way verl now registers engines",
    ),
    Seam(
        f"{FSDP}:FSDPEngine.__init__",
        ("self", "model_config", "engine_config", "optimizer_config", "checkpoint_config"),
        ENGINE,
        "adapt CpuFsdpMixin.__init__, which checks the settings before verl's constructor",
    ),
    Seam(
        f"{FSDP}:FSDPEngine._build_module",
        ("self",),
        ENGINE,
        "set the packed attention, and build the critic without flash attention, where verl now builds the module",
    ),
    Seam(
        f"{FSDP}:FSDPEngine._build_fsdp_module",
        ("self", "module"),
        ENGINE,
        "keep a forward-only engine free of pinned memory where verl now shards the module: CpuFsdpMixin hides "
        "forward_only for this one condition",
        source=("if self.engine_config.offload_policy or self.engine_config.forward_only:",),
    ),
    Seam(
        f"{FSDP}:FSDPEngineWithLMHead.prepare_model_outputs",
        ("self", "output", "output_args", "micro_batch", "logits_processor_func"),
        ENGINE,
        "compute log-probs of all tokens at once where verl now computes them, or drop the override if verl does",
    ),
    Seam(
        f"{FSDP}:FSDPEngine._gather_and_unpad_packed",
        ("self", "tensor", "pad_size"),
        ENGINE,
        "strip the padding of a packed batch in prepare_model_outputs the way verl now does",
    ),
    Seam(
        "verl.workers.rollout.replica:RolloutReplicaRegistry.register",
        ("name", "loader"),
        "siri_verl/registration.py",
        "register the replica 'light' the way verl now registers replicas",
    ),
    Seam(
        "verl.workers.rollout.replica:RolloutReplicaRegistry._registry",
        None,
        VLLM_CPU,
        "find verl's own loader of 'vllm', which is used where verl does not run on the CPU",
    ),
    Seam(
        "verl",
        None,
        VLLM_CPU,
        "name this module in the variable by which verl now loads external modules, also in recipes/vllm_cpu.sh",
        source=('os.getenv("VERL_USE_EXTERNAL_MODULES", "")', "import_external_libs(modules)"),
    ),
    Seam(
        "verl.plugin.platform:PlatformBase.rollout_env_vars",
        ("self",),
        "siri_verl/platform/cpu.py",
        "name the environment variables of vLLM's processes where verl now asks for them",
    ),
    Seam(
        "verl.workers.rollout.replica:RolloutReplica.__init__",
        (
            *("self", "replica_rank", "config", "model_config", "gpus_per_node", "is_reward_model"),
            *("is_teacher_model", "name_suffix"),
        ),
        REPLICA,
        "adapt LightReplica",
    ),
    Seam("verl.workers.rollout.replica:RolloutReplica.launch_servers", ("self",), REPLICA, "adapt LightReplica"),
    Seam(
        "verl.workers.rollout.base:_ROLLOUT_REGISTRY",
        None,
        "siri_verl/registration.py",
        "register the adapter of 'light' where verl now looks rollouts up; use a public way if there is one",
    ),
    Seam(
        "verl.workers.rollout.base:get_rollout_class",
        ("rollout_name", "mode"),
        "siri_verl/registration.py",
        "register the adapter of 'light' under the key verl now looks up",
    ),
    Seam(
        "verl.workers.rollout.base:BaseRollout.__init__",
        ("self", "config", "model_config", "device_mesh", "args", "kwargs"),
        REPLICA,
        "adapt LightServerAdapter",
    ),
    Seam(
        "verl.workers.rollout.base:BaseRollout.update_weights",
        ("self", "weights", "wire_format", "kwargs"),
        REPLICA,
        "adapt LightServerAdapter.update_weights",
    ),
    Seam("verl.workers.rollout.base:BaseRollout.resume", ("self", "tags"), REPLICA, "adapt LightServerAdapter.resume"),
    Seam("verl.workers.rollout.base:BaseRollout.release", ("self",), REPLICA, "adapt LightServerAdapter.release"),
    Seam(
        "verl.experimental.teacher_loop.teacher_manager",
        None,
        SERVER,
        "score a given text with the parameters, and in the layout, that verl's clients now use",
        source=(
            '"prompt_logprobs": num_logprobs',
            '"detokenize": False',
            'teacher_output.extra_fields["prompt_ids"]',
            'teacher_output.extra_fields["prompt_logprobs"]',
        ),
    ),
    Seam("verl.workers.rollout.replica:TokenOutput", None, SERVER, "build what verl's clients now expect"),
    Seam(
        "verl.workers.rollout.utils:ensure_async_iterator",
        ("iterable",),
        REPLICA,
        "iterate over the weights in LightServerAdapter.update_weights, which come from a generator, sync or async",
    ),
)
