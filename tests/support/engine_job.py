# SPDX-License-Identifier: Apache-2.0
"""Runs verl's engines on the CPU, for the tests beside it: `torchrun --nproc_per_node=N engine_job.py IN OUT`.

IN holds a batch (see engine_rows.py). OUT gets the gradients and outputs of the policy, of a forward-only policy and
of a critic, as the whole group of N workers computed them.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from omegaconf import open_dict
from tensordict import TensorDict
from torch.distributed.tensor import DTensor
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.distributed import initialize_global_process_group
from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig
from verl.workers.utils.losses import ppo_loss, value_loss

from siri_verl.planning.compose import compose_run


def settings(model: str):
    """verl's trainer configuration with the CPU preset."""
    return compose_run(
        [
            "+siri=cpu",
            f"actor_rollout_ref.model.path={model}",
            f"critic.model.path={model}",
            "actor_rollout_ref.actor.optim.total_training_steps=10",
            "critic.optim.total_training_steps=10",
            "algorithm.adv_estimator=gae",
        ]
    )


def worker(role, model_type: str) -> TrainingWorker:
    """verl's training worker around our engine, built as verl's trainer builds it."""
    made = TrainingWorker(
        TrainingWorkerConfig(
            model_type=model_type,
            model_config=role.model_config if hasattr(role, "model_config") and role.model_config else role.model,
            engine_config=role.engine,
            optimizer_config=role.optim,
            checkpoint_config=role.checkpoint,
            profiler_config=None,
        )
    )
    made.reset()
    return made


def share(
    rows: list[dict[str, torch.Tensor]], rank: int, world: int, max_tokens: int, temperature: float
) -> TensorDict:
    """This worker's part of the rows, in verl's layout without padding."""
    mine = rows[rank::world]
    tensors = {
        name: torch.nested.as_nested_tensor([row[name] for row in mine], layout=torch.jagged) for name in mine[0]
    }
    data = tu.get_tensordict(tensors, non_tensor_dict={})
    tu.assign_non_tensor(
        data,
        use_remove_padding=True,
        calculate_entropy=True,
        use_dynamic_bsz=True,
        max_token_len_per_gpu=max_tokens,
        temperature=temperature,
        global_batch_size=len(rows),
    )
    return data


def gradients(engine, data: TensorDict, loss) -> dict[str, torch.Tensor]:
    """Whole gradients by parameter name."""
    with engine.train_mode(zero_grad_on_exit=False):
        engine.forward_backward_batch(data, loss)
    return {
        name: p.grad.full_tensor().clone() if isinstance(p.grad, DTensor) else p.grad.clone()
        for name, p in engine.module.named_parameters()
    }


def outputs(engine, data: TensorDict) -> dict[str, list[torch.Tensor]]:
    """By name, one tensor per row of this worker."""
    with engine.eval_mode():
        found = engine.infer_batch(data)["model_output"]
    return {name: list(tensor.unbind()) for name, tensor in found.items()}


def run(job: dict) -> dict:
    """Everything the tests ask for; see the module's docstring."""
    _, rank, world = initialize_global_process_group()
    config = settings(job["model"])
    model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    found: dict = {"rank": rank}

    def batch() -> TensorDict:
        return share(job["rows"], rank, world, job["max_tokens"], job["temperature"])

    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    actor.model_config = model
    engine = worker(actor, "language_model").engine
    found["engine"] = type(engine).__name__
    data = batch()
    found |= outputs(engine, data)
    found["gradients"] = gradients(engine, data, partial(ppo_loss, config=actor))
    found["weights"] = {name: tensor.clone() for name, tensor in engine.get_per_tensor_param()[0]}

    # verl's worker turns its reference settings into actor settings under these names (engine_workers.py, init_model)
    with open_dict(config.actor_rollout_ref.ref) as ref:
        ref.ppo_mini_batch_size = config.actor_rollout_ref.actor.ppo_mini_batch_size
        for theirs, ours in (
            ("log_prob_micro_batch_size", "ppo_micro_batch_size"),
            ("log_prob_micro_batch_size_per_gpu", "ppo_micro_batch_size_per_gpu"),
            ("log_prob_use_dynamic_bsz", "use_dynamic_bsz"),
            ("log_prob_max_token_len_per_gpu", "ppo_max_token_len_per_gpu"),
        ):
            ref[ours] = ref.pop(theirs, None)
    ref = omega_conf_to_dataclass(ref)
    ref.model_config = model
    reference = worker(ref, "language_model").engine
    found["reference_log_probs"] = outputs(reference, batch())["log_probs"]
    found["reference_is_forward_only"] = reference.engine_config.forward_only

    critic = omega_conf_to_dataclass(config.critic)
    torch.manual_seed(0)  # the head is new; every worker and every number of workers draws the same
    value = worker(critic, "value_model").engine
    data = batch()
    found |= outputs(value, data)
    found["value_gradients"] = gradients(value, data, partial(value_loss, config=critic))
    return found


if __name__ == "__main__":
    result = run(torch.load(sys.argv[1]))
    torch.save(result, f"{sys.argv[2]}.{result['rank']}")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
