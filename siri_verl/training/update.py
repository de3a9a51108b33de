# SPDX-License-Identifier: Apache-2.0
"""What the actor's workers are told about an update (verl/trainer/ppo/v1/trainer_base.py, PPOTrainer._update_actor)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig
from verl.utils.metric import reduce_metrics

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.training.loss import ALONE, LAMBDA, SETTINGS
from siri_verl.training.queue import RowBatch
from siri_verl.training.update_guard import check_rows, check_update


def update_info(
    config: DictConfig,
    settings: InternalizationSettings,
    coefficient: float,
    rows: int,
    internalization_rows: int = 0,
    alone: bool = False,
) -> dict[str, Any]:
    """As verl's own, with rows per optimizer step of our own and without verl's distillation from other models.

    Args:
        config: verl's configuration.
        settings: of the distillation term.
        coefficient: lambda(k).
        rows: per optimizer step, over all ranks.
        internalization_rows: those among them that verl's loss does not count.
        alone: the update is of internalization rows alone: one epoch, without verl's terms.
    """
    actor = config.actor_rollout_ref.actor
    return {
        "calculate_entropy": not alone and (actor.calculate_entropy or actor.entropy_coeff != 0.0),
        # verl's flag for calling the loss with logits (siri_verl/training/soft_targets.py).
        "distillation_use_topk": settings.target != "sampled",
        "distillation_only": False,
        # The loss's count of rows leaves internalization rows out.
        "global_batch_size": rows - internalization_rows,
        "mini_batch_size": rows,
        "epochs": 1 if alone else actor.ppo_epochs,
        "seed": actor.data_loader_seed,
        "dataloader_kwargs": {"shuffle": actor.shuffle},
        "temperature": config.actor_rollout_ref.rollout.temperature,
        LAMBDA: coefficient,
        SETTINGS: settings,
        ALONE: alone,
    }


def finite_update(workers: Any, batch: RowBatch, *, skip: bool) -> tuple[dict[str, Any], dict[str, float]]:
    """An update without rows and optimizer steps that are not finite (siri_verl/training/update_guard.py).

    Args:
        workers: the actor's worker group.
        batch: the rows, with what `update_info` states.
        skip: leave out what is not finite.

    Returns:
        (what the workers report: name -> a value per optimizer step or micro-batch, what was left out).

    Raises:
        NonFiniteUpdateError: something is not finite, and `skip` is not set.
    """
    rows = check_rows(batch, skip)
    found = workers.update_actor(batch)["metrics"]
    steps = check_update(found, batch, skip)
    return found, {"siri/update/skipped_rows": rows, "siri/update/skipped_steps": steps} if skip else {}


def update_alone(
    update: Callable[[RowBatch], tuple[dict[str, Any], dict[str, float]]],
    batch: RowBatch,
    config: DictConfig,
    settings: InternalizationSettings,
    coefficient: float,
) -> dict[str, float]:
    """Optimizer steps of internalization's own (`steps`), after the policy's.

    Args:
        update: `finite_update` with its other arguments.
        batch: internalization rows, each rank's cut into `settings.steps` slices.
        config: verl's configuration.
        settings: of the term.
        coefficient: lambda(k).

    Returns:
        `actor/internalization_loss`, and the gradient norm of these steps.
    """
    rows = len(batch) // settings.steps
    batch.extra_info.update(update_info(config, settings, coefficient, rows, alone=True))
    found, _ = update(batch)
    names = {"internalization_loss": "actor/internalization_loss", "grad_norm": "siri/internalization/grad_norm"}
    return reduce_metrics({names[name]: values for name, values in found.items() if name in names})
