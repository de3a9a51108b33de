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
"""The `siri` trainer mode: verl's synchronous V1 trainer over rows that are turns.

    python -m verl.trainer.main_ppo +siri=webshop ...        # the group sets trainer.v1.trainer_mode=siri

What it adds to verl's `sync` mode: settings are checked before workers start; the batch is put in an order that does
not depend on
which episode finished first; anchors reach the estimator; the number of optimizer steps per iteration can be fixed; a
non-finite
update stops the run and names the rows; metrics under `siri/` and a JSON-lines copy of all metrics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict

from siri_verl.config import siri_config
from siri_verl.training import batch_metrics, checkpoint, update_guard
from siri_verl.training.estimator import last_advantages, use_table
from siri_verl.training.metrics_log import MetricsLog
from siri_verl.training.preflight import check_run
from siri_verl.training.step_table import StepTable

METRICS_FILE = "metrics.jsonl"


@register_trainer("siri")
class SiriTrainer(PPOTrainerSync):
    """verl's PPOTrainerSync (verl/trainer/ppo/v1/trainer_sync.py) with turns as rows."""

    def __init__(self, config: DictConfig):
        self.settings = siri_config(config)
        check_run(config, self.settings)
        super().__init__(config)
        self.metrics_log = MetricsLog(Path(config.trainer.default_local_dir) / METRICS_FILE)
        self.table: StepTable | None = None
        self.env_steps = 0

    def _build_replay_buffer(self):
        # verl takes every mode but "sync" for an asynchronous one, in five places.
        self.trainer_mode = "sync"
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = self.settings.rollout.poll_interval
        return buffer

    # ---- one iteration ---------------------------------------------------------------------------------------------

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict, **kwargs: Any) -> KVBatchMeta:
        """The first step after sampling: order, table, counts; then verl's balancing."""
        table = StepTable.fetch(batch.keys, batch.tags, batch.partition_id)
        order = table.canonical_order()
        batch.reorder(order)
        self.table = table.take(order)
        batch_metrics.check_complete(
            self.table, tasks=self.config.data.train_batch_size, sessions=self.config.actor_rollout_ref.rollout.n
        )
        self.env_steps += int(self.table.real.sum())
        metrics.update(batch_metrics.rollout_metrics(self.table, success_reward=self.settings.reward.success_reward))
        metrics["siri/env_steps_total"] = self.env_steps
        return super()._balance_batch(batch, metrics, **kwargs)

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        if self.settings.update.mini_batches is None:
            return super()._get_required_batch_multiple(dp_size)
        return dp_size * self.settings.update.mini_batches

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        assert self.table is not None
        table = self.table.aligned_to(batch.keys, batch.tags)
        with use_table(table):
            batch = super()._compute_advantage(batch, metrics)
            if self.config.algorithm.adv_estimator == "gigpo":
                metrics.update(batch_metrics.advantage_metrics(last_advantages(), table))
        return batch

    def _update_actor(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        actor = self.config.actor_rollout_ref.actor
        mini_batches = self.settings.update.mini_batches
        rows = actor.ppo_mini_batch_size * self.config.actor_rollout_ref.rollout.n
        if mini_batches is not None:
            rows = len(batch) // mini_batches
        # As PPOTrainer._update_actor, with `rows` and without teachers; verl fixes rows per mini-batch, and with one
        # row per turn
        # the number of optimizer steps would float.
        batch.extra_info.update(
            calculate_entropy=actor.calculate_entropy or actor.entropy_coeff != 0.0,
            distillation_use_topk=False,
            distillation_only=False,
            global_batch_size=rows,
            mini_batch_size=rows,
            epochs=actor.ppo_epochs,
            seed=actor.data_loader_seed,
            dataloader_kwargs={"shuffle": actor.shuffle},
            temperature=self.config.actor_rollout_ref.rollout.temperature,
        )
        output = self.actor_rollout_wg.update_actor(batch)
        update_guard.check_update(output["metrics"], batch)
        output = rename_dict(output["metrics"], "actor/")
        output["perf/mfu/actor"] = output.pop("actor/mfu")
        metrics.update(reduce_metrics(output))
        metrics["siri/updates"] = (len(batch) // rows) * actor.ppo_epochs
        return batch

    # ---- metrics ---------------------------------------------------------------------------------------------------

    def _compute_metrics(
        self, batch: KVBatchMeta, metrics: dict, timing_raw: dict, global_steps: int, epoch: int
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        self.metrics_log.write("train", global_steps, metrics)

    def _val_metrics_update(
        self, data_sources: list, sample_uids: list, reward_extra_infos_dict: dict, sample_turns: list, **kwargs: Any
    ) -> dict[str, float]:
        infos = dict(reward_extra_infos_dict)
        texts = {name: infos.pop(name) for name in batch_metrics.TEXT_INFOS if name in infos}
        metrics = batch_metrics.validation_metrics({**infos, **texts})
        metrics.update(super()._val_metrics_update(data_sources, sample_uids, infos, sample_turns, **kwargs))
        self.metrics_log.write("validation", self.global_steps, metrics)
        return metrics

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        # Own state first: verl writes its tracker file inside, and what comes after it can be lost.
        checkpoint.save_state(checkpoint.step_folder(self.config, self.global_steps), {"env_steps": self.env_steps})
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if self.global_steps > 0:
            state = checkpoint.load_state(checkpoint.resume_folder(self.config, self.global_steps))
            self.env_steps = int(state["env_steps"])
