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
"""The light rollout server: a Ray actor around :class:`~siri_verl.rollout.light_engine.LightEngine`.

It answers the calls verl makes of its rollout servers (verl/workers/rollout/vllm_rollout/vllm_async_server.py). The
engine computes in a thread of its own, so the actor's event loop stays free. Options, all under
``actor_rollout_ref.rollout.engine_kwargs.light``: see :class:`LightOptions`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

logger = logging.getLogger("siri_verl")

_DTYPES = {"float32": torch.float32, "fp32": torch.float32, "bfloat16": torch.bfloat16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class LightOptions:
    """Settings of one server.

    Attributes:
        num_threads: threads of torch in the server's process.
        device: "cpu", or "cuda" for the accelerator of the trainer rank the server belongs to.
        prefill_tokens: tokens of prompts run at once.
        gather_seconds: how long an idle server waits for company of a first request.
        prefix_cache_mb: memory for keys and values of earlier prompts, for prompts that begin alike; 0 for none.
    """

    num_threads: int = 1
    device: str = "cpu"
    prefill_tokens: int = 2048
    gather_seconds: float = 0.002
    prefix_cache_mb: int = 256

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any] | None) -> LightOptions:
        """Raises ValueError on an unknown name."""
        options = dict(options or {})
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(options) - known):
            raise ValueError(f"engine_kwargs.light: unknown options {unknown}; known are {sorted(known)}")
        return cls(**options)


class LightServer:
    """One replica's server.

    Args:
        config: verl's RolloutConfig (or its mapping).
        model_config: verl's HFModelConfig (or its mapping).
        replica_rank: number of this replica.
    """

    def __init__(self, config: Any, model_config: Any, replica_rank: int):
        from verl.utils.config import omega_conf_to_dataclass
        from verl.workers.config import HFModelConfig

        from siri_verl.plugin import require
        from siri_verl.rollout.light_engine import LightEngine
        from siri_verl.rollout.light_model import LightModel, load_model

        require()
        self.config = omega_conf_to_dataclass(config)
        self.model_config: HFModelConfig = omega_conf_to_dataclass(model_config, dataclass_type=HFModelConfig)
        self.replica_rank = replica_rank
        self.options = LightOptions.from_mapping(self.config.engine_kwargs.get("light"))
        if self.config.dtype not in _DTYPES:
            raise ValueError(f"rollout.dtype={self.config.dtype!r}: the light server knows {sorted(_DTYPES)}")
        torch.set_num_threads(self.options.num_threads)
        tokenizer, hf_config = self.model_config.tokenizer, self.model_config.hf_config
        self._random_weights = self.config.load_format == "dummy"
        model = load_model(
            hf_config,
            None if self._random_weights else self.model_config.local_path,
            _DTYPES[self.config.dtype],
            self.options.device,
            self.model_config.trust_remote_code,
        )
        self.engine = LightEngine(
            LightModel(model, self.options.prefill_tokens, self.options.prefix_cache_mb << 20),
            decode=tokenizer.decode,
            eos_token_ids=end_tokens(tokenizer, self.model_config.generation_config),
            valid_vocab=min(len(tokenizer), hf_config.vocab_size),
            max_model_len=self._context_length(hf_config),
            max_running=self.config.max_num_seqs,
            gather_seconds=self.options.gather_seconds,
        )
        self._gate = asyncio.Event()
        self._gate.set()
        self._rejecting = False

    def _context_length(self, hf_config: Any) -> int:
        wanted = self.config.max_model_len or self.config.prompt_length + self.config.response_length
        limit = getattr(hf_config, "max_position_embeddings", wanted)
        if wanted > limit:
            raise ValueError(
                f"rollout.max_model_len (or prompt_length {self.config.prompt_length} + response_length "
                f"{self.config.response_length}) = {wanted} exceeds the model's max_position_embeddings {limit}"
            )
        return wanted

    async def ready(self) -> str:
        """Address of the server: a name only, since requests come through Ray."""
        import ray

        return f"light-{self.replica_rank}@{ray.util.get_node_ip_address()}"

    async def generate(
        self,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        request_id: str,
        image_data: Any = None,
        video_data: Any = None,
        audio_data: Any = None,
        mm_processor_kwargs: Any = None,
        priority: int = 0,
        **kwargs: Any,
    ):
        """Token in, token out.

        Returns:
            verl's TokenOutput; extra_fields name the weights: global_steps and max_global_steps at the end of the
            reply, min_global_steps at its beginning.

        Raises:
            ValueError: bad sampling parameters, a prompt that leaves no room, or images, videos, audio.
        """
        from verl.workers.rollout.replica import TokenOutput

        from siri_verl.rollout.light_sampling import SamplingParams

        for name, data in (("image_data", image_data), ("video_data", video_data), ("audio_data", audio_data)):
            if data:
                raise ValueError(f"request {request_id}: {name} given, the light server takes text alone")
        params = SamplingParams.from_mapping({"ignore_eos": self.config.ignore_eos, **sampling_params})
        if params.max_tokens is None:
            budget = self.config.prompt_length + self.config.response_length - len(prompt_ids)
            params = dataclasses.replace(params, max_tokens=max(1, min(self.config.response_length, budget)))
        while not self._gate.is_set():
            if self._rejecting:
                step = {"global_steps": self.engine.version}
                return TokenOutput(token_ids=[], log_probs=[], stop_reason="aborted", extra_fields=step)
            await self._gate.wait()
        if self._random_weights:
            raise RuntimeError(
                f"request {request_id}: rollout.load_format=dummy and no weights have arrived yet; set "
                "load_format=auto for a server without a trainer"
            )
        prompt = [int(t) for t in prompt_ids]
        done = await asyncio.wrap_future(self.engine.submit(request_id, prompt, params))
        return TokenOutput(
            token_ids=done.token_ids,
            log_probs=done.log_probs,
            stop_reason="aborted" if done.reason == "aborted" else "completed",
            num_preempted=0,
            extra_fields={
                "global_steps": done.last_version,
                "min_global_steps": done.first_version,
                "max_global_steps": done.last_version,
                "finish_reason": done.reason,
            },
        )

    # ---- weights

    async def update_weights(self, weights: dict[str, torch.Tensor], global_steps: int | None = None) -> None:
        """Take new weights, by name; see :meth:`LightEngine.update_weights`."""
        await asyncio.to_thread(self.engine.update_weights, weights.items(), global_steps)
        self._random_weights = False

    async def set_global_steps(self, global_steps: int) -> None:
        """Name the present weights."""
        self.engine.version = global_steps

    # ---- sleep and abort

    async def wait_for_requests_to_drain(self) -> None:
        """Return when nothing waits or runs."""
        while self.engine.pending():
            await asyncio.sleep(0.005)

    async def sleep(self) -> None:
        """Finish what runs, then give the cache's memory back; later requests wait for :meth:`wake_up`."""
        if not self.config.free_cache_engine:
            return
        await self.wait_for_requests_to_drain()
        await asyncio.to_thread(self.engine.sleep)

    async def wake_up(self, tags: list[str] | None = None) -> None:
        """Serve again. Weights are never dropped, so only the tag kv_cache (or none) matters."""
        if tags is None or "kv_cache" in tags:
            self.engine.wake_up()

    async def clear_kv_cache(self) -> None:
        """Forget earlier prompts; a weight update does so by itself."""
        await asyncio.to_thread(self.engine.clear_prefixes)

    async def release_kv_cache(self) -> None:
        """Before a weight transfer."""
        await self.sleep()

    async def resume_kv_cache(self) -> None:
        """After a weight transfer."""
        await self.wake_up()

    async def abort_all_requests(self, reset_prefix_cache: bool = True, reject_request: bool = False) -> dict[str, Any]:
        """End every request with what it has; new ones wait (or are refused) until :meth:`resume_generation`."""
        self._rejecting = reject_request
        self._gate.clear()
        return {"aborted_count": await asyncio.to_thread(self.engine.abort), "request_ids": []}

    async def abort_request(self, request_id: str, reset_prefix_cache: bool = True) -> dict[str, Any]:
        """End one request with what it has."""
        found = await asyncio.to_thread(self.engine.abort, [request_id])
        return {"aborted": bool(found), "request_id": request_id}

    async def resume_generation(self) -> None:
        """Let requests in again."""
        self._rejecting = False
        self._gate.set()

    async def start_profile(self, **kwargs: Any) -> None:
        """No profiler of its own."""

    async def stop_profile(self) -> None:
        """No profiler of its own."""


def end_tokens(tokenizer: Any, generation_config: Any) -> set[int]:
    """Ids that end a reply: the tokenizer's, and those the model's generation config names."""
    named = getattr(generation_config, "eos_token_id", None)
    ids = [tokenizer.eos_token_id, *(named if isinstance(named, list | tuple) else [named])]
    return {int(i) for i in ids if i is not None}
