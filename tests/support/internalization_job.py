# SPDX-License-Identifier: Apache-2.0
"""verl's real training worker on what the driver sent: `torchrun --nproc_per_node=N internalization_job.py IN OUT`.

IN holds jobs by name: one TensorDict per rank, and the micro-batch limits to run it with. OUT.rank gets, per job and
limit, the gradient and the weights of every optimizer step before it is taken, and what the worker reports.
"""

from __future__ import annotations

import os
import pickle
import sys
from functools import partial

import torch
from torch.distributed.tensor import DTensor
from verl.trainer.main_ppo import main  # noqa: F401  the trainer's imports, in its order
from verl.utils import tensordict_utils as tu
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.distributed import initialize_global_process_group
from verl.workers.engine_workers import TrainingWorker, TrainingWorkerConfig

from siri_verl.training.loss import siri_loss
from siri_verl.training.soft_targets import SCORED_IDS, SCORED_LOG_PROBS, SCORING


def build(config) -> TrainingWorker:
    """verl's training worker with our loss, built as verl's actor worker builds it (workers/engine_workers.py)."""
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    actor.model_config = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=actor.model_config,
            engine_config=actor.engine,
            optimizer_config=actor.optim,
            checkpoint_config=actor.checkpoint,
            profiler_config=None,
        )
    )
    worker.reset()
    worker.set_loss_fn(partial(siri_loss, config=actor))
    return worker


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


class Recorder:
    """Notes gradient and weights each time the engine is about to take an optimizer step.

    The next step then starts at weights of ours: Adam's first step turns rounding of gradients near zero into whole
    steps, and gradients of other weights cannot be compared.
    """

    def __init__(self, engine):
        self.engine, self.take, self.steps = engine, engine.optimizer_step, []
        self.start = {name: p.detach().clone() for name, p in engine.module.named_parameters()}
        engine.optimizer_step = self.step

    def step(self):
        named = dict(self.engine.module.named_parameters())
        gradient = {name: whole(p.grad) for name, p in named.items() if p.grad is not None}
        self.steps.append({"gradient": gradient, "weights": {name: whole(p) for name, p in named.items()}})
        taken = self.take()
        self.put(1 + 0.01 * len(self.steps))
        return taken

    def put(self, factor: float):
        """The first weights times a factor."""
        with torch.no_grad():
            for name, parameter in self.engine.module.named_parameters():
                parameter.copy_(self.start[name] * factor)

    def restart(self):
        """The first weights and a fresh optimizer."""
        self.put(1.0)
        self.engine.optimizer.state.clear()
        self.steps = []


def scored(output) -> dict[str, list[torch.Tensor]]:
    """The columns of a scoring pass, one tensor per row."""
    return {name: list(output[name].unbind()) for name in (SCORED_IDS, SCORED_LOG_PROBS) if name in output.keys()}


def run(jobs: dict, config) -> dict:
    """See the module's docstring."""
    _, rank, world = initialize_global_process_group()
    worker = build(config)
    recorder = Recorder(worker.engine)
    found: dict = {}
    for name, job in jobs.items():
        assert len(job["chunks"]) == world
        for limit in job["limits"]:
            recorder.restart()
            data = pickle.loads(job["chunks"][rank])
            # Below 0: micro-batches of so many rows.
            worker.engine_config.use_dynamic_bsz = limit > 0
            worker.engine_config.micro_batch_size_per_gpu = -limit
            tu.assign_non_tensor(data, max_token_len_per_gpu=limit)
            if tu.get(data, SCORING, False):
                worker.engine_config.infer_micro_batch_size_per_gpu = -limit
                found[name, limit] = {"columns": scored(worker.infer_batch(data))}
                continue
            output = worker.train_mini_batch(data)
            found[name, limit] = {"steps": recorder.steps, "metrics": tu.get(output, "metrics")}
    return {"rank": rank, "found": found}


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        given = pickle.load(file)
    result = run(given["jobs"], given["config"])
    torch.save(result, f"{sys.argv[2]}.{os.environ['RANK']}")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
