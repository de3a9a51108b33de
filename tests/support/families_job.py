# SPDX-License-Identifier: Apache-2.0
"""verl's policy engine on the CPU for one model after another: `families_job.py IN OUT`, with the
variables of one worker's process group.

IN: name -> {"model", "rows", "temperature"}. OUT: name -> log-probs of each row and weights by name, or the error.
"""

from __future__ import annotations

import copy
import sys

import torch
from engine_job import outputs, settings, share, worker
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.distributed import initialize_global_process_group


def run(job: dict, config) -> dict:
    """What the engine computes for one model."""
    config.actor_rollout_ref.model.path = job["model"]
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    actor.model_config = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    try:
        engine = worker(actor, "language_model").engine
    except ValueError as error:
        return {"error": str(error)}
    found = outputs(engine, share(job["rows"], 0, 1, 1024, job["temperature"]))
    weights = {name: tensor.clone() for name, tensor in engine.get_per_tensor_param()[0]}
    return {"log_probs": found["log_probs"], "weights": weights}


if __name__ == "__main__":
    initialize_global_process_group()
    plain = settings("set below")
    torch.save({name: run(job, copy.deepcopy(plain)) for name, job in torch.load(sys.argv[1]).items()}, sys.argv[2])
    torch.distributed.destroy_process_group()
