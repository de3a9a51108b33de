# SPDX-License-Identifier: Apache-2.0
"""The plan of a run: all estimates, and whether they fit a GPU of a given size."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import DictConfig

from siri_verl.planning.architecture import Architecture, architecture
from siri_verl.planning.inputs import batch_of, environment_bytes, settings_of, setup_of
from siri_verl.planning.memory import GIB, Setup, host, kv_tokens, phases
from siri_verl.planning.tokens import Batch, Budget, budget
from siri_verl.training.preflight.settings import check_settings

FITS, TIGHT, TOO_BIG, NO_GPU = "fits", "tight", "does not fit", "runs on the CPU"
TIGHT_ABOVE, TOO_BIG_ABOVE = 0.85, 0.96
"""Shares of the GPU's memory."""


@dataclass(frozen=True)
class Plan:
    """The estimate of a run. Values are bytes unless a name states another unit."""

    architecture: Architecture
    setup: Setup
    batch: Batch
    budget: Budget
    gpu: float
    phases: dict[str, dict[str, float]]
    host: dict[str, float]
    kv_tokens: int
    replicas: int
    problems: list[str] = field(default_factory=list)
    """Why it does not fit or cannot run."""
    remarks: list[str] = field(default_factory=list)

    @property
    def peak(self) -> tuple[str, float]:
        """The largest phase and its sum."""
        sums = {name: sum(parts.values()) for name, parts in self.phases.items()}
        name = max(sums, key=sums.__getitem__)
        return name, sums[name]

    @property
    def verdict(self) -> str:
        """`fits`, `tight`, `does not fit` or `runs on the CPU`."""
        if not self.phases:
            return NO_GPU if not self.problems else TOO_BIG
        if self.problems:
            return TOO_BIG
        return TIGHT if self.peak[1] > TIGHT_ABOVE * self.gpu else FITS


def plan_run(config: DictConfig, gpu_gib: float = 80.0, turns: float | None = None) -> Plan:
    """The estimate of a run.

    Args:
        config: a composed configuration of verl's PPO trainer.
        gpu_gib: memory of one GPU, GiB.
        turns: of a session on average; None counts with the most.

    Raises:
        UnknownSizes: nothing else is wrong, but the model's sizes are not known.
        ConfigError: a setting is wrong.
    """
    settings = settings_of(config)
    check_settings(config, settings)  # the run itself makes the same checks before it starts
    setup, batch, gpu = setup_of(config), batch_of(config, settings, turns), gpu_gib * GIB
    arch = architecture(config.actor_rollout_ref.model.path)  # last: of an unknown model all else has been checked
    counts, on_host = budget(batch), host(arch, setup)
    remarks = [] if settings else ["no `siri:` block: every session is taken for one turn"]
    if settings:
        on_host["environment servers"], remark = environment_bytes(settings)
        remarks += [remark] if remark else []
    replicas = setup.gpus // setup.rollout_tensor
    on_cpu = config.trainer.device == "cpu"
    made = Plan(
        architecture=arch,
        setup=setup,
        batch=batch,
        budget=counts,
        gpu=gpu,
        phases={} if on_cpu else phases(arch, setup, gpu),
        host=on_host,
        kv_tokens=0 if on_cpu else kv_tokens(arch, setup, gpu),
        replicas=replicas,
        remarks=remarks,
    )
    made.problems.extend(problems(made))
    if not on_cpu and not made.problems:
        at_once, wanted = made.kv_tokens // (batch.prompt + batch.response), counts.sessions / replicas
        if at_once < wanted:
            made.remarks.append(
                f"the KV cache of a replica holds {at_once} sessions at full length, {wanted:.0f} are in play: the "
                "others wait; a higher actor_rollout_ref.rollout.gpu_memory_utilization holds more"
            )
    return made


def problems(made: Plan) -> list[str]:
    """Why the run would fail, each with what to change."""
    found, setup, batch = [], made.setup, made.batch
    longest = batch.prompt + batch.response
    for name, tokens in (
        ("actor_rollout_ref.actor.ppo_max_token_len_per_gpu", setup.update_tokens),
        ("actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu", setup.log_prob_tokens),
    ):
        if tokens * setup.context < longest:
            found.append(
                f"{name}={tokens}: a row can have {longest} tokens; use at least {-(-longest // setup.context)}"
            )
    if not made.phases:
        return found
    if made.kv_tokens < longest:
        found.append(
            f"actor_rollout_ref.rollout.gpu_memory_utilization={setup.utilization}: beside the weights the KV cache "
            f"holds {made.kv_tokens} tokens, one session can need {longest}; raise it, or "
            "actor_rollout_ref.rollout.tensor_model_parallel_size"
        )
    for name, parts in made.phases.items():
        total = sum(parts.values())
        if total > TOO_BIG_ABOVE * made.gpu:
            largest = max(parts, key=parts.__getitem__)
            found.append(
                f"{name}: {total / GIB:.0f} GiB of {made.gpu / GIB:.0f} GiB per GPU, {parts[largest] / GIB:.0f} GiB of "
                f"it {largest}; {advice(setup, name)}"
            )
    return found


def advice(setup: Setup, phase: str) -> str:
    """What makes a phase smaller."""
    if phase == "rollout":
        return "lower actor_rollout_ref.rollout.gpu_memory_utilization, or offload parameters and optimizer"
    ways = ["more GPUs", "a smaller model"]
    if phase == "update" and setup.lora_rank == 0 and setup.engine != "megatron":
        ways.insert(0, "`lora` in +siri=[...]")
    if setup.engine == "fsdp2" and not setup.offload_policy:
        ways.insert(0, "`offload` in +siri=[...] (states on the host)")
    elif setup.engine == "megatron":
        ways.insert(0, "`gpu` with `offload` in place of `gpu_megatron`")
    return "use " + ", ".join(ways[:-1]) + f" or {ways[-1]}"
