# SPDX-License-Identifier: Apache-2.0
"""The light rollout in verl's terms: the replica that starts its server, and the adapter through which a trainer rank
sends weights. Registered under ``rollout.name=light`` (siri_verl/registration.py)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from verl.plugin.platform import get_platform
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import HFModelConfig, RolloutConfig
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica

from siri_verl.failures import require
from siri_verl.light.server import LightServer
from siri_verl.light.settings import ServerSettings, check_length, drawn_tokens
from siri_verl.settings.light import DTYPES, LightSettings


def server_settings(config: RolloutConfig, model_config: Any, replica_rank: int) -> ServerSettings:
    """What a server needs of verl's configuration.

    Args:
        config: verl's RolloutConfig.
        model_config: verl's HFModelConfig, or its mapping.

    Raises:
        ValueError: an unknown dtype or option, or a context longer than the model's.
    """
    model: HFModelConfig = omega_conf_to_dataclass(model_config, dataclass_type=HFModelConfig)
    if config.dtype not in DTYPES:
        raise ValueError(f"rollout.dtype={config.dtype!r}: the light server knows {sorted(DTYPES)}")
    length = config.max_model_len or config.prompt_length + config.response_length
    lengths = f"prompt_length {config.prompt_length} + response_length {config.response_length}"
    check_length(model.hf_config, length, f"rollout.max_model_len (or {lengths})")
    ends, valid_vocab = drawn_tokens(model.hf_config, model.tokenizer, model.generation_config)
    return ServerSettings(
        replica_rank=replica_rank,
        hf_config=model.hf_config,
        weights=None if config.load_format == "dummy" else model.local_path,
        tokenizer=model.tokenizer,
        eos_token_ids=ends,
        valid_vocab=valid_vocab,
        dtype=getattr(torch, DTYPES[config.dtype]),
        prompt_length=config.prompt_length,
        response_length=config.response_length,
        max_model_len=length,
        max_running=config.max_num_seqs,
        ignore_eos=config.ignore_eos,
        free_cache=config.free_cache_engine,
        trust_remote_code=model.trust_remote_code,
        light=LightSettings.from_mapping(config.engine_kwargs.get("light")),
    )


def server_name(replica_rank: int, role: str = "") -> str:
    """Name of a replica's actor in Ray."""
    return f"light_server_{role}{replica_rank}"


class LightReplica(RolloutReplica):
    """One server, one process, whatever the trainer's size: the model is small enough to be whole in each."""

    def __init__(self, *args: Any, **kwargs: Any):
        require()
        super().__init__(*args, **kwargs)
        if self.world_size != 1:
            raise ValueError(
                f"rollout tensor x data x pipeline parallel size = {self.world_size}: the light server runs a whole "
                "model, set rollout.tensor_model_parallel_size=1 (every trainer rank has a replica of its own)"
            )

    async def launch_servers(self) -> None:
        """Start the server on the node of its trainer rank."""
        node, devices = await self.workers[0].__ray_call__.remote(
            lambda self: (ray.get_runtime_context().get_node_id(), ray.get_runtime_context().get_accelerator_ids())
        )
        role = "reward_" if self.is_reward_model else "teacher_" if self.is_teacher_model else ""
        settings = server_settings(self.config, self.model_config, self.replica_rank)
        threads = str(settings.light.num_threads)
        env_vars = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if settings.light.device != "cpu":
            # Ray hides the accelerators from an actor that reserves none: this one shares its trainer rank's.
            platform = get_platform()
            env_vars |= {name: "1" for name in platform.ray_noset_envvars()}
            env_vars[platform.visible_devices_envvar()] = ",".join(devices[platform.ray_resource_name()])
        server = (
            ray.remote(LightServer)
            .options(
                name=server_name(self.replica_rank, role) + self.name_suffix,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node, soft=False),
                runtime_env={"env_vars": env_vars},
                max_concurrency=self.max_concurrency,
            )
            .remote(settings)
        )
        self.servers = [server]
        self._server_handle = server
        self._server_address = await server.ready.remote()

    async def sleep(self) -> None:
        """Let running requests finish, then free their cache."""
        await asyncio.gather(*[server.sleep.remote() for server in self.servers])

    async def abort_request(self, request_id: str) -> dict[str, Any]:
        """End one request; it returns the tokens so far."""
        return await self._server_handle.abort_request.remote(request_id)


class LightServerAdapter(BaseRollout):
    """In each trainer rank: hands weights and sleep calls to the rank's own replica."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1, **kwargs: Any):
        super().__init__(config, model_config, device_mesh)
        self.replica_rank = int(os.environ["RANK"]) if replica_rank == -1 else replica_rank
        self.is_leader_rank = True
        self._server: Any = None

    @property
    def server(self) -> Any:
        """The replica's actor; it is started after the trainer ranks, so it is looked up at first use."""
        if self._server is None:
            self._server = ray.get_actor(server_name(self.replica_rank))
        return self._server

    async def resume(self, tags: list[str]) -> None:
        """Wake the server."""
        if self.config.free_cache_engine:
            await self.server.wake_up.remote(tags=tags)

    async def release(self) -> None:
        """Put the server to sleep."""
        if self.config.free_cache_engine:
            await self.server.sleep.remote()

    @torch.no_grad()
    async def update_weights(
        self,
        weights: Generator[tuple[str, torch.Tensor], None, None],
        global_steps: int | None = None,
        wire_format: str = "named_tensors",
        **kwargs: Any,
    ) -> None:
        """Send all weights through Ray's object store.

        Raises:
            ValueError: another wire format than named tensors, or an adapter (LoRA) that was not merged.
        """
        from verl.workers.rollout.utils import ensure_async_iterator

        if wire_format != "named_tensors":
            raise ValueError(f"wire_format={wire_format!r}: the light server takes named_tensors")
        if kwargs.get("peft_config") is not None:
            raise ValueError("the light server loads no LoRA adapter: set actor_rollout_ref.model.lora.merge=True")
        named = {name: tensor.detach().cpu() async for name, tensor in ensure_async_iterator(weights)}
        await self.server.update_weights.remote(named, global_steps=global_steps)
