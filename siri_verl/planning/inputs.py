# SPDX-License-Identifier: Apache-2.0
"""From a composed configuration of verl to the inputs of the arithmetic."""

from __future__ import annotations

import copy
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.planning.memory import FULL, HALF, Setup
from siri_verl.planning.tokens import Batch
from siri_verl.settings.read import siri_settings
from siri_verl.settings.schema import SiriSettings

SERVER_MIB = {"webshop": 54, "alfworld": 280, "toy": 1}
"""An environment process with 64 sessions, beyond what Python and Ray take (benchmarks/webshop and benchmarks/alfworld;
ALFWorld: 64 different games in full-size rooms)."""
PROCESS_MIB = 90
"""An environment process before its first session."""


def settings_of(config: DictConfig) -> SiriSettings | None:
    """The `siri:` block; None where there is none. Environment settings left open (`???`) do not matter to a plan."""
    if config.get("siri") is None:
        return None
    kwargs = config.siri.get("environment", {}).get("kwargs") or {}
    missing = [key for key in kwargs if OmegaConf.is_missing(kwargs, key)]
    if missing:
        config = copy.deepcopy(config)
        config.siri.environment.kwargs.update(dict.fromkeys(missing, ""))
    return siri_settings(config)


def _float_bytes(name: str) -> int:
    return HALF if str(name) in ("bf16", "bfloat16", "fp16", "float16") else FULL


def setup_of(config: DictConfig) -> Setup:
    """How the run trains and samples.

    Raises:
        ConfigError: an engine whose memory is not known here, or parallel sizes that do not divide the GPUs.
    """
    actor, rollout, trainer = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, config.trainer
    model, strategy = config.actor_rollout_ref.model, config.actor_rollout_ref.actor.strategy
    gpus = trainer.nnodes * trainer.n_gpus_per_node
    rank = model.lora.get("rank", 0) or model.lora_rank
    if actor.use_dynamic_bsz:
        update, log_prob = actor.ppo_max_token_len_per_gpu, rollout.log_prob_max_token_len_per_gpu
    else:
        longest = config.data.max_prompt_length + config.data.max_response_length
        update = (actor.ppo_micro_batch_size_per_gpu or 1) * longest
        log_prob = (rollout.log_prob_micro_batch_size_per_gpu or 1) * longest
    common = dict(
        gpus=gpus,
        gpus_per_node=trainer.n_gpus_per_node,
        lora_rank=rank,
        entropy=bool(actor.entropy_coeff or actor.calculate_entropy),
        reference=bool(actor.use_kl_loss or config.algorithm.use_kl_in_reward),
        update_tokens=update,
        log_prob_tokens=log_prob,
        rollout=rollout.name,
        rollout_tensor=rollout.tensor_model_parallel_size,
        utilization=rollout.gpu_memory_utilization,
        frees_cache=rollout.free_cache_engine,
        bucket=rollout.checkpoint_engine.update_weights_bucket_megabytes << 20,
    )
    divides("actor_rollout_ref.rollout.tensor_model_parallel_size", rollout.tensor_model_parallel_size, gpus)
    if strategy == "megatron":
        engine = actor.megatron
        tensor, pipeline = engine.tensor_model_parallel_size, engine.pipeline_model_parallel_size
        context = engine.context_parallel_size
        divides("tensor, pipeline and context parallel sizes of actor.megatron", tensor * pipeline * context, gpus)
        return Setup(
            engine="megatron",
            shard=gpus,
            tensor=tensor,
            pipeline=pipeline,
            context=context,
            offload_weights=engine.param_offload,
            offload_optimizer=engine.optimizer_offload,
            distributed_optimizer=engine.use_distributed_optimizer,
            checkpointing=engine.override_transformer_config.get("recompute_granularity") == "full",
            **common,
        )
    if strategy not in ("fsdp", "fsdp2"):
        raise ConfigError(f"actor_rollout_ref.actor.strategy={strategy!r}: plan knows fsdp, fsdp2 and megatron")
    engine = actor.fsdp_config
    context = max(actor.ulysses_sequence_parallel_size, engine.ulysses_sequence_parallel_size)
    shard = gpus if engine.fsdp_size in (-1, 0) else min(engine.fsdp_size, gpus)
    divides("actor_rollout_ref.actor.ulysses_sequence_parallel_size", context, gpus)
    divides("actor_rollout_ref.actor.fsdp_config.fsdp_size", shard, gpus)
    return Setup(
        engine="fsdp2",
        shard=shard,
        context=context,
        weight_bytes=_float_bytes(engine.model_dtype),
        offload_policy=strategy == "fsdp2" and engine.offload_policy,
        offload_weights=engine.param_offload,
        offload_optimizer=engine.optimizer_offload,
        checkpointing=model.enable_gradient_checkpointing,
        **common,
    )


def divides(name: str, size: int, gpus: int) -> None:
    """A parallel size divides the number of GPUs."""
    if size < 1 or gpus % size:
        raise ConfigError(
            f"{name}={size}: does not divide the run's {gpus} GPUs (trainer.nnodes * trainer.n_gpus_per_node)"
        )


def batch_of(config: DictConfig, settings: SiriSettings | None, turns: float | None) -> Batch:
    """What an iteration is made of; without a `siri:` block a session is taken for one turn.

    Raises:
        ConfigError: a size that is below 1.
    """
    for field in (
        "data.train_batch_size",
        "actor_rollout_ref.actor.ppo_mini_batch_size",
        "actor_rollout_ref.rollout.n",
    ):
        if OmegaConf.select(config, field) < 1:
            raise ConfigError(f"{field}={OmegaConf.select(config, field)}: use at least 1")
    common = dict(
        tasks=config.data.train_batch_size,
        group=config.actor_rollout_ref.rollout.n,
        prompt=config.data.max_prompt_length,
        response=config.data.max_response_length,
        mini_batch_tasks=config.actor_rollout_ref.actor.ppo_mini_batch_size,
        iterations=config.trainer.total_training_steps,
        turns=turns,
    )
    if settings is None:
        return Batch(max_turns=1, scored_share=0.0, **common)
    most = settings.rollout.max_turns
    if turns is not None and not 0 < turns <= most:
        raise ConfigError(f"turns={turns}: use a number above 0 and at most siri.rollout.max_turns={most}")
    skills = settings.phases.fixed != "warm_up"
    return Batch(
        max_turns=most,
        mini_batches=settings.update.mini_batches,
        scored_share=scored_share(settings) if skills else 0.0,
        mining_requests=settings.mining.requests * settings.mining.answers if skills else 0,
        mining_every=settings.mining.every,
        mining_tokens=settings.mining.max_tokens,
        **common,
    )


def scored_share(settings: SiriSettings) -> float:
    """Share of the turns whose reply the token teacher has scored on a second prompt, at most."""
    skill = settings.arms.share(True)
    return {"skill_on_plain": skill, "plain_under_skill": 1 - skill, "both": 1.0}[settings.internalization.rows]


def environment_bytes(settings: SiriSettings) -> tuple[float, str | None]:
    """(memory of one node's environment servers, a remark where it is not known)."""
    environment = settings.environment
    known = SERVER_MIB.get(environment.name)
    memory = environment.num_servers * (PROCESS_MIB + (known or 0)) * 2**20
    store = environment.kwargs.get("store")
    if store and Path(str(store)).is_dir():
        memory += sum(path.stat().st_size for path in Path(str(store)).rglob("*") if path.is_file())
    if known is not None:
        return memory, None
    return memory, f"the memory of environment {environment.name!r} itself is not known and not counted"
