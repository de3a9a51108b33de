# SPDX-License-Identifier: Apache-2.0
"""Memory of one GPU, phase by phase: pure arithmetic over an architecture and a few settings. All results are bytes.

verl trains and samples on the same GPUs in turn, so four phases have a peak of their own: the rollout, the pass that
takes log-probs, the update, and the hand-over of weights to the rollout engine. :data:`ASSUMPTIONS` lists what is
assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from siri_verl.planning.architecture import Architecture

GIB = 2**30
HALF, FULL = 2, 4
"""Bytes of a bfloat16 and of a float32 number."""
OVERHEAD = 3 * GIB
ASLEEP = 2 * GIB
WORKSPACE = 2 * GIB
LOGIT_BYTES = {(True, True): 12, (True, False): 8, (False, True): 8, (False, False): 4}
"""(with gradients, with entropy) -> bytes per logit."""

ASSUMPTIONS: tuple[str, ...] = (
    "FSDP2: float32 weights, gradients and both Adam moments, sharded over all GPUs; bfloat16 copies of the embeddings "
    "and of two layers are gathered at a time, and the largest unit's gradients are held once more while reduced",
    "Megatron: bfloat16 weights and float32 gradients split over tensor and pipeline parallel ranks, 12 bytes per "
    "parameter of optimizer split over data parallel ranks too",
    "activations with gradient checkpointing: each layer's input, and all values of one layer with their gradients; "
    "flash attention, packed rows",
    "logits: 12 bytes each in the update when entropy is in the loss, 8 without; 8 and 4 in the pass for log-probs",
    f"CUDA context, communication buffers, fragmentation: {OVERHEAD // GIB} GiB",
    f"a sleeping rollout engine keeps {ASLEEP // GIB} GiB, and its weights where it cannot give them back (SGLang with "
    "adapters)",
    "an awake one takes gpu_memory_utilization of the GPU; the KV cache is that, less the weights and "
    f"{WORKSPACE // GIB} GiB",
    "dense layers: a mixture of experts needs less for activations than shown",
)


@dataclass(frozen=True)
class Setup:
    """How the model is trained and sampled.

    Attributes:
        engine: "fsdp2" (also for fsdp) or "megatron".
        gpus: of the whole run.
        gpus_per_node: of one node.
        shard: GPUs that share FSDP's states.
        tensor, pipeline, context: parallel sizes of training; under FSDP `context` is Ulysses' sequence parallel size.
        weight_bytes: of FSDP's own weights, gradients and moments.
        offload_policy: FSDP2 keeps all states on the host.
        offload_weights, offload_optimizer: moved to the host between updates.
        distributed_optimizer: Megatron's optimizer is split over data parallel ranks.
        lora_rank: 0 trains everything.
        checkpointing: gradient checkpointing.
        entropy: the loss has an entropy term.
        reference: there is a KL term to a reference model.
        update_tokens, log_prob_tokens: of a micro-batch on one GPU.
        rollout: name of the rollout engine.
        rollout_tensor: GPUs of one replica.
        utilization: share of the GPU it takes.
        frees_cache: it sleeps while training runs.
        bucket: bytes of weights handed over at a time.
    """

    engine: str
    gpus: int
    gpus_per_node: int
    shard: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    weight_bytes: int = FULL
    offload_policy: bool = False
    offload_weights: bool = True
    offload_optimizer: bool = True
    distributed_optimizer: bool = True
    lora_rank: int = 0
    checkpointing: bool = True
    entropy: bool = True
    reference: bool = True
    update_tokens: int = 9216
    log_prob_tokens: int = 16384
    rollout: str = "vllm"
    rollout_tensor: int = 1
    utilization: float = 0.6
    frees_cache: bool = True
    bucket: int = 2 * GIB

    @property
    def model_parallel(self) -> int:
        """GPUs that hold one copy of the weights, but for FSDP's sharding."""
        return self.tensor * self.pipeline

    @property
    def data_parallel(self) -> int:
        """Micro-batches computed at a time."""
        return self.gpus // (self.model_parallel * self.context)


@dataclass(frozen=True)
class States:
    """Bytes per GPU that outlive a micro-batch, wherever they are."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        """All three."""
        return self.weights + self.gradients + self.optimizer


def states(arch: Architecture, setup: Setup) -> States:
    """Weights, gradients and optimizer of one GPU's share."""
    adapters = arch.adapters(setup.lora_rank) if setup.lora_rank else 0
    trained = adapters or arch.parameters
    if setup.engine == "megatron":
        part = setup.model_parallel
        ranks = part * (setup.data_parallel if setup.distributed_optimizer else 1)
        return States(HALF * (arch.parameters + adapters) / part, FULL * trained / part, 3 * FULL * trained / ranks)
    each = setup.weight_bytes / setup.shard
    return States((arch.parameters + adapters) * each, trained * each, 2 * trained * each)


def gathered(arch: Architecture, setup: Setup) -> float:
    """FSDP's unsharded bfloat16 copies: the embeddings and two layers."""
    return 0 if setup.engine == "megatron" else HALF * (arch.embedding + 2 * arch.layer)


def reduced(arch: Architecture, setup: Setup) -> float:
    """FSDP's largest unit of gradients, in bfloat16 and once more in float32 while it is reduced."""
    if setup.engine == "megatron" or setup.lora_rank:
        return 0
    return (HALF + FULL) * max(arch.layer, arch.embedding if arch.tied else arch.embedding // 2)


def activations(arch: Architecture, setup: Setup, tokens: int, gradients: bool) -> float:
    """Hidden states of a micro-batch."""
    tokens_here = tokens / (setup.context * setup.tensor)
    if not gradients:
        return HALF * tokens_here * arch.layer_values
    layers = arch.layers / setup.pipeline
    if not setup.checkpointing:
        return HALF * tokens_here * arch.layer_values * layers
    return HALF * tokens_here * (layers * arch.hidden + 2 * arch.layer_values)


def logits(arch: Architecture, setup: Setup, tokens: int, gradients: bool) -> float:
    """Logits of a micro-batch, with what is derived from them."""
    return LOGIT_BYTES[gradients, setup.entropy] * tokens / setup.context * arch.vocab / setup.tensor


def rollout_weights(arch: Architecture, setup: Setup) -> float:
    """bfloat16 weights of the rollout engine on one GPU."""
    return HALF * arch.parameters / setup.rollout_tensor


def asleep(arch: Architecture, setup: Setup, gpu: float) -> float:
    """What the rollout engine keeps while training runs."""
    if not setup.frees_cache:
        return setup.utilization * gpu
    keeps_weights = setup.rollout == "sglang" and setup.lora_rank > 0
    return ASLEEP + (rollout_weights(arch, setup) if keeps_weights else 0)


def phases(arch: Architecture, setup: Setup, gpu: float) -> dict[str, dict[str, float]]:
    """Phase -> what -> bytes on one GPU of `gpu` bytes. A phase's sum is its peak."""
    own = states(arch, setup)
    stays = own if not setup.offload_policy else States(0, 0, 0)
    weights = 0 if setup.offload_weights else stays.weights
    optimizer = 0 if setup.offload_optimizer else stays.optimizer
    common = {"overhead": float(OVERHEAD)}
    sleeping = {"sleeping rollout engine": asleep(arch, setup, gpu), **common}
    reference = 0.0
    if setup.reference and not setup.lora_rank and setup.engine == "megatron":
        reference = HALF * arch.parameters / setup.model_parallel
    wide = max(arch.layer, arch.embedding if arch.tied else arch.embedding // 2)
    return {
        "rollout": {
            "rollout engine": setup.utilization * gpu,
            "weights": weights,
            "optimizer": optimizer,
            **common,
        },
        "log-probs": {
            "weights": max(stays.weights, weights + reference),
            "optimizer": optimizer,
            "gathered copies": gathered(arch, setup),
            "activations": activations(arch, setup, setup.log_prob_tokens, gradients=False),
            "logits": logits(arch, setup, setup.log_prob_tokens, gradients=False),
            **sleeping,
        },
        "update": {
            "weights": stays.weights,
            "gradients": stays.gradients,
            "optimizer": stays.optimizer,
            "gathered copies": gathered(arch, setup) + reduced(arch, setup),
            "activations": activations(arch, setup, setup.update_tokens, gradients=True),
            "logits": logits(arch, setup, setup.update_tokens, gradients=True),
            **sleeping,
        },
        "weights to the rollout engine": {
            "weights": stays.weights,
            "optimizer": optimizer,
            "rollout weights": rollout_weights(arch, setup) + ASLEEP,
            "transfer": setup.bucket + HALF * wide,
            **common,
        },
    }


def host(arch: Architecture, setup: Setup) -> dict[str, float]:
    """What -> bytes of one node's main memory: whatever leaves its GPUs."""
    own, gpus = states(arch, setup), setup.gpus_per_node
    if setup.offload_policy:
        training = own.total
    else:
        training = (own.weights if setup.offload_weights else 0) + (own.optimizer if setup.offload_optimizer else 0)
    reference = 0.0
    if setup.reference and not setup.lora_rank:
        each = HALF / setup.model_parallel if setup.engine == "megatron" else setup.weight_bytes / setup.shard
        reference = arch.parameters * each
    adapters_beside = setup.lora_rank > 0 and setup.rollout != "sglang"
    return {
        "training states": training * gpus,
        "reference model": reference * gpus,
        "sleeping rollout weights": rollout_weights(arch, setup) * gpus if adapters_beside else 0.0,
    }


def kv_tokens(arch: Architecture, setup: Setup, gpu: float) -> int:
    """Tokens the KV cache of one replica holds; 0 when the weights leave no room."""
    room = setup.utilization * gpu - rollout_weights(arch, setup) - WORKSPACE
    per_token = HALF * arch.kv_values / min(setup.rollout_tensor, arch.kv_heads)
    return max(0, int(room // per_token))
