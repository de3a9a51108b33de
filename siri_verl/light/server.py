# SPDX-License-Identifier: Apache-2.0
"""The light rollout server: a Ray actor around :class:`~siri_verl.light.engine.LightEngine`.

It answers the calls verl makes of its rollout servers (verl/workers/rollout/vllm_rollout/vllm_async_server.py). The
engine computes in a thread of its own, so the actor's event loop stays free. The process does not import verl, which
would take longer than everything else at its start: settings arrive ready-made, replies become verl's on their way out.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import torch

from siri_verl.light.settings import ServerSettings


class Reply:
    """Fields of verl's TokenOutput; unpickled, it is one."""

    def __init__(self, **fields: Any):
        self.fields = fields

    def __reduce__(self):
        return token_output, (self.fields,)


def token_output(fields: dict[str, Any]):
    """verl's TokenOutput with these fields."""
    from verl.workers.rollout.replica import TokenOutput

    return TokenOutput(**fields)


class LightServer:
    """One replica's server."""

    def __init__(self, settings: ServerSettings):
        from siri_verl.light.engine import LightEngine
        from siri_verl.light.model import LightModel, load_model

        self.settings = settings
        light = settings.light
        torch.set_num_threads(light.num_threads)
        self._has_weights = settings.weights is not None
        model = load_model(
            settings.hf_config, settings.weights, settings.dtype, light.device, settings.trust_remote_code
        )
        self.engine = LightEngine(
            LightModel(model, light.prefill_tokens, light.prefix_cache_mb << 20),
            decode=settings.tokenizer.decode,
            eos_token_ids=settings.eos_token_ids,
            valid_vocab=settings.valid_vocab,
            max_model_len=settings.max_model_len,
            max_running=settings.max_running,
            gather_seconds=light.gather_seconds,
        )
        self._gate = asyncio.Event()
        self._gate.set()
        self._rejecting = False

    async def ready(self) -> str:
        """Address of the server: a name only, since requests come through Ray."""
        import ray

        return f"light-{self.settings.replica_rank}@{ray.util.get_node_ip_address()}"

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
    ) -> Reply:
        """Token in, token out.

        Returns:
            what the caller sees as verl's TokenOutput; extra_fields name the weights: global_steps and
            max_global_steps at the end of the reply, min_global_steps at its beginning; server is the replica's
            number. With the parameter prompt_logprobs=K they have prompt_ids and prompt_logprobs, (prompt tokens,
            max(K, 1)), as those of verl's servers.

        Raises:
            ValueError: bad sampling parameters, a prompt that leaves no room, or images, videos, audio.
            RuntimeError: no weights yet.
        """
        from siri_verl.light.sampling import SamplingParams

        settings = self.settings
        for name, data in (("image_data", image_data), ("video_data", video_data), ("audio_data", audio_data)):
            if data:
                raise ValueError(f"request {request_id}: {name} given, the light server takes text only")
        params = SamplingParams.from_mapping({"ignore_eos": settings.ignore_eos, **sampling_params})
        if params.max_tokens is None:
            budget = settings.prompt_length + settings.response_length - len(prompt_ids)
            params = dataclasses.replace(params, max_tokens=max(1, min(settings.response_length, budget)))
        while not self._gate.is_set():
            if self._rejecting:
                step = {"global_steps": self.engine.version}
                return Reply(token_ids=[], log_probs=[], stop_reason="aborted", extra_fields=step)
            await self._gate.wait()
        if not self._has_weights:
            raise RuntimeError(
                f"request {request_id}: rollout.load_format=dummy and no weights have arrived yet; set "
                "load_format=auto for a server without a trainer"
            )
        prompt = [int(t) for t in prompt_ids]
        done = await asyncio.wrap_future(self.engine.submit(request_id, prompt, params))
        scores = dict(zip(("prompt_ids", "prompt_logprobs"), done.prompt_scores or (), strict=False))
        return Reply(
            token_ids=done.token_ids,
            log_probs=done.log_probs,
            stop_reason="aborted" if done.reason == "aborted" else "completed",
            num_preempted=0,
            extra_fields={
                "global_steps": done.last_version,
                "min_global_steps": done.first_version,
                "max_global_steps": done.last_version,
                "finish_reason": done.reason,
                "server": str(settings.replica_rank),
                **scores,
            },
        )

    # ---- weights

    async def update_weights(self, weights: dict[str, torch.Tensor], global_steps: int | None = None) -> None:
        """Take new weights, by name; see :meth:`LightModel.update_weights`."""
        await asyncio.to_thread(self.engine.update_weights, weights.items(), global_steps)
        self._has_weights = True

    async def set_global_steps(self, global_steps: int) -> None:
        """Set the version of the current weights."""
        self.engine.version = global_steps

    # ---- sleep and abort

    async def wait_for_requests_to_drain(self) -> None:
        """Return when nothing waits or runs."""
        while self.engine.pending():
            await asyncio.sleep(0.005)

    async def sleep(self) -> None:
        """Finish what runs, then give the cache's memory back; later requests wait for :meth:`wake_up`."""
        if self.settings.free_cache:
            await self.wait_for_requests_to_drain()
            await asyncio.to_thread(self.engine.sleep)

    async def wake_up(self, tags: list[str] | None = None) -> None:
        """Serve again. Weights are never dropped, so only the tag kv_cache (or none) matters."""
        if tags is None or "kv_cache" in tags:
            self.engine.wake_up()

    async def clear_kv_cache(self) -> None:
        """Forget earlier prompts, as a weight update does."""
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
        """End one request; it returns the tokens so far."""
        found = await asyncio.to_thread(self.engine.abort, [request_id])
        return {"aborted": bool(found), "request_id": request_id}

    async def resume_generation(self) -> None:
        """Accept requests again."""
        self._rejecting = False
        self._gate.set()

    async def start_profile(self, **kwargs: Any) -> None:
        """No profiler of its own."""

    async def stop_profile(self) -> None:
        """No profiler of its own."""
