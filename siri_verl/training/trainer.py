# SPDX-License-Identifier: Apache-2.0
"""The `siri` trainer mode: verl's synchronous V1 trainer over rows that are turns, and SIRI's three phases.

    python -m verl.trainer.main_ppo +siri=webshop ...        # the group sets trainer.v1.trainer_mode=siri

`siri_verl/training/step.py` is the iteration. This file keeps what lives for a run and maps verl's hooks to the
methods of a step; every hook it overrides is a seam (siri_verl/seams/training.py).

In any phase it adds to verl's `sync` mode: settings are checked before workers start; the order of the batch does not
depend on which trajectory finished first; anchors reach the estimator; the number of optimizer steps does not depend on
padding; a non-finite update stops the run and names the rows; metrics under `siri/` and a JSON-lines copy of all
metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from omegaconf import DictConfig
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.debug import marked_timer
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict

from siri_verl.failures import require
from siri_verl.rollout.task_columns import add_columns, add_exploration
from siri_verl.runs import checkpoint
from siri_verl.runs.writer import RunWriter
from siri_verl.settings.read import siri_settings
from siri_verl.skills.bank_file import dump_bank
from siri_verl.training import console
from siri_verl.training import metrics as siri_metrics
from siri_verl.training.batch_layout import batch_layout, spread_padding
from siri_verl.training.estimator import rows_are_turns
from siri_verl.training.loss import siri_loss
from siri_verl.training.method import Siri
from siri_verl.training.miners import EndpointMiner, PolicyMiner, make_miner
from siri_verl.training.planner import make_planner
from siri_verl.training.preflight.run import preflight
from siri_verl.training.prompt_log import check_validation_prompts, write_arm_prompts
from siri_verl.training.queue import RowBatch, tensors_alone, without_padding
from siri_verl.training.sample import TrajectorySample, due
from siri_verl.training.step import SiriStep
from siri_verl.training.step_table import canonical_order
from siri_verl.training.teacher_scores import Scorer
from siri_verl.training.update import finite_update, update_alone, update_info


@register_trainer("siri")
class SiriTrainer(PPOTrainerSync):
    """verl's PPOTrainerSync (verl/trainer/ppo/v1/trainer_sync.py) with turns as rows and SIRI's phases.

    Attributes:
        siri: the method's state; made as soon as the tokenizer is loaded.
        sample: picks the trajectories that are kept for readers; made together with it.
        miner: answers mining prompts; made once the rollout servers are up.
        iteration: the running step; None before the first.
        reading: reads the trajectories of the running step in the background.
        env_steps: turns played so far.
    """

    def __init__(self, config: DictConfig):
        require()
        self.settings = siri_settings(config)
        preflight(config, self.settings)
        self.siri: Siri | None = None
        self.sample: TrajectorySample | None = None
        self.miner: PolicyMiner | EndpointMiner | None = None
        self.iteration: SiriStep | None = None
        self.reading: Future[None] | None = None
        self.env_steps = 0
        super().__init__(config)
        self.files = RunWriter(config, self.settings.seed)
        self.background = ThreadPoolExecutor(max_workers=1)

    # ---- set-up --------------------------------------------------------------------------------------------------

    def _build_replay_buffer(self):
        # verl takes every mode but "sync" for an asynchronous one, in five places.
        self.trainer_mode = "sync"
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = self.settings.rollout.poll_interval
        buffer.sample = self._checking_validation(buffer.sample)
        return buffer

    def _checking_validation(self, sample: Callable[..., tuple[RowBatch, dict]]) -> Callable[..., Any]:
        """verl's ReplayBuffer.sample, with checks and a sample of each validation batch."""

        def checked_sample(global_steps: int, partition_id: str, batch_size: int) -> tuple[RowBatch, dict]:
            batch, metrics = sample(global_steps=global_steps, partition_id=partition_id, batch_size=batch_size)
            if partition_id == "val":
                sessions = self.config.actor_rollout_ref.rollout.val_kwargs.n
                siri_metrics.check_sessions(batch.keys, batch_size * sessions)
                if not self.settings.control.skills_in_prompt:
                    check_validation_prompts(batch.keys, self.siri.bank, self.tokenizer)
                self.files.write_trajectories(self.sample.validation(batch.keys, batch.tags, global_steps))
            return batch, metrics

        return checked_sample

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        settings = self.settings
        planner = make_planner(self.config, settings, self.tokenizer)
        group_size = self.config.actor_rollout_ref.rollout.n
        self.siri = Siri(settings, group_size, planner, self.tokenizer.all_special_tokens)
        self.sample = TrajectorySample(
            settings.samples, settings.seed, self.tokenizer, lambda skill_id: self.siri.bank[skill_id].block
        )

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        if self.settings.curriculum.chain_length > 1:
            # The loader goes through the dataset in its order (data.shuffle=false).
            tasks = self.train_dataset.dataframe
            order = self.siri.chained(list(map(str, tasks["task_id"])), self.config.data.train_batch_size)
            self.train_dataset.dataframe = tasks.select(order)

    def on_init_end(self) -> None:
        super().on_init_end()
        actor = omega_conf_to_dataclass(self.config.actor_rollout_ref.actor)
        self.actor_rollout_wg.set_loss_fn(partial(siri_loss, config=actor))
        self.miner = make_miner(self.config, self.settings, self.get_llm_client(), self.tokenizer)

    def fit(self, agent_loop_manager: Any) -> None:
        try:
            super().fit(agent_loop_manager)
        finally:
            self.files.close()

    # ---- before the trajectories ---------------------------------------------------------------------------------

    def on_validate_begin(self) -> None:
        super().on_validate_begin()
        if self.settings.control.skills_in_prompt:
            self.agent_loop_manager.validation_skills = self.siri.validation_skills

    def on_train_begin(self) -> None:
        super().on_train_begin()
        console.warn_nothing_to_play(self.global_steps - 1, self.total_training_steps)

    def on_step_begin(self) -> None:
        super().on_step_begin()
        self.iteration = SiriStep(self.siri, self.global_steps, self.config.algorithm)
        self.reading = None
        if self.siri.mining_due(self.global_steps):
            with marked_timer("mining", self.timing_raw):
                before = self.miner.prompt_tokens, self.miner.generated_tokens
                replies = partial(getattr, self.miner, "replies", ())
                self.iteration.mine(partial(self.miner, step=self.global_steps), replies)
            self.iteration.metrics["siri/mining/prompt_tokens"] = self.miner.prompt_tokens - before[0]
            self.iteration.metrics["siri/mining/generated_tokens"] = self.miner.generated_tokens - before[1]

    def _next_train_batch(self, num_prompts: int | None = None) -> TensorDict:
        """verl's workers carry the columns with each group's skill to the sessions."""
        batch = super()._next_train_batch(num_prompts)
        groups = self.iteration.plan(list(map(str, batch["uid"])), list(map(str, batch["task_id"])))
        add_columns(batch, [group.skill for group in groups], self.siri.arm_plan.plain)
        add_exploration(batch, self.iteration.explored_sessions(groups), self.settings.exploration.temperature)
        return batch

    # ---- after the trajectories ----------------------------------------------------------------------------------

    def _balance_batch(self, batch: RowBatch, metrics: dict, **kwargs: Any) -> RowBatch:
        """The first step after sampling: order, then verl's balancing, then reading.

        Internalization needs what is read at once; otherwise it is read while the log-probs are computed.
        """
        step = self.iteration
        sessions = self.config.actor_rollout_ref.rollout.n
        siri_metrics.check_sessions(batch.keys, self.config.data.train_batch_size * sessions)
        batch.reorder(canonical_order(batch.keys, step.task_of))
        step.rows = len(batch)
        self.env_steps += step.rows
        metrics["siri/env_steps_total"] = self.env_steps
        metrics["siri/generated_tokens"] = sum(int(tag["response_len"]) for tag in batch.tags)
        read = partial(self._read, step, list(batch.keys), list(batch.tags), batch.partition_id)
        batch = super()._balance_batch(batch, metrics, **kwargs)
        batch.reorder(spread_padding([bool(tag.get("is_padding", False)) for tag in batch.tags], step.layout))
        if not self.siri.machine.internalizes and not self.siri.writer.waiting:
            self.reading = self.background.submit(read)
            return batch
        read()
        if self.settings.writer.train:
            batch = step.add_writer_rows(batch)
        return step.internalize(batch) if self.siri.machine.internalizes else batch

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        """Called back by verl's _balance_batch."""
        step = self.iteration
        models = {"reference_policy": self.use_reference_policy, "critic": self.use_critic}
        step.layout = batch_layout(self.config, step.rows, dp_size, self.siri.mini_batches(step.number), **models)
        return step.layout.multiple

    def _read(self, step: SiriStep, keys: list[str], tags: list[dict], partition_id: str) -> None:
        step.read(keys, tags, partition_id)
        step.record_effects()
        write_arm_prompts(step.table, self.tokenizer, self.files.folder.prompts, step.number)
        if due(step.number, self.total_training_steps, self.config.trainer.test_freq):
            self.files.write_trajectories(self.sample.training(step.table, step.number))

    def _compute_old_log_prob(self, batch: RowBatch, metrics: dict) -> RowBatch:
        return super()._compute_old_log_prob(tensors_alone(batch, self.processor), metrics)

    # ---- after the log-probs -------------------------------------------------------------------------------------

    def _compute_advantage(self, batch: RowBatch, metrics: dict) -> RowBatch:
        if self.reading is not None:
            self.reading.result()
        step = self.iteration
        with rows_are_turns(step.advantages(batch)):
            batch = super()._compute_advantage(batch, metrics)
        batch = step.weigh(batch, Scorer(self.actor_rollout_wg, self.config, self.processor))
        metrics.update(step.take_metrics())
        return batch

    def _update_actor(self, batch: RowBatch, metrics: dict) -> RowBatch:
        step, actor = self.iteration, self.config.actor_rollout_ref.actor
        weight = step.next_lambda()
        steps = step.layout.optimizer_steps
        term, rows, added = self.settings.internalization, len(batch) // steps, step.teacher.extra_in_policy // steps
        batch.extra_info.update(update_info(self.config, term, weight, rows, added))
        update = partial(finite_update, self.actor_rollout_wg, skip=self.settings.update.non_finite == "skip")
        output, skipped = update(tensors_alone(batch, self.processor))
        output = rename_dict(output, "actor/")
        output["perf/mfu/actor"] = output.pop("actor/mfu")
        metrics.update(reduce_metrics(output) | skipped)
        metrics["siri/updates"] = steps * actor.ppo_epochs
        if step.teacher.alone is not None:
            alone = tensors_alone(step.teacher.alone, self.processor)
            metrics.update(update_alone(update, alone, self.config, term, weight))
            metrics["siri/updates"] += term.steps
        metrics.update(step.take_metrics())
        return batch

    def step(self, metrics: dict, timing_raw: dict) -> RowBatch:
        batch = self.iteration.teacher.with_left_out(super().step(metrics, timing_raw))
        # Here and not after the update, which verl leaves out while trainer.critic_warmup lasts.
        self.iteration.end()
        metrics.update(self.iteration.take_metrics())
        self.files.write_bank(dump_bank(self.siri.bank))
        budget, phase = self.settings.budget, self.siri.machine.phase
        if budget.spent(self.env_steps, phase):
            self._end_here()
        elif self.global_steps >= self.total_training_steps:
            console.warn_budget_left(budget, self.global_steps, self.env_steps, phase)
        return batch

    def _end_here(self) -> None:
        """Make this step the last, with checkpoint and validation. verl's loop has read both bound and frequencies."""
        self.total_training_steps = self.global_steps
        for name in ("save_freq", "test_freq"):
            if self.config.trainer[name] > 0:
                self.config.trainer[name] = max(1, self.global_steps)

    # ---- metrics -------------------------------------------------------------------------------------------------

    def _compute_metrics(self, batch: RowBatch, metrics: dict, timing_raw: dict, global_steps: int, epoch: int):
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        self.files.write_metrics("train", global_steps, metrics)

    def _log_rollout_data(self, batch: RowBatch, timing_raw: dict, rollout_data_dir: str) -> None:
        super()._log_rollout_data(without_padding(batch), timing_raw, rollout_data_dir)

    def _val_metrics_update(
        self, data_sources: list, sample_uids: list, reward_extra_infos_dict: dict, sample_turns: list, **kwargs: Any
    ) -> dict[str, float]:
        infos = dict(reward_extra_infos_dict)
        texts = {name: infos.pop(name) for name in siri_metrics.TEXT_INFOS if name in infos}
        metrics = siri_metrics.validation_metrics({**infos, **texts})
        metrics.update(super()._val_metrics_update(data_sources, sample_uids, infos, sample_turns, **kwargs))
        self.files.write_metrics("validation", self.global_steps, metrics)
        return metrics

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        # Own state first: verl writes its tracker file inside, and what comes after it can be lost.
        folder = self.files.folder.checkpoint(self.global_steps)
        checkpoint.save_state(folder, {"env_steps": self.env_steps, "skills": self.siri.save(folder.path)})
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        checkpoint.repair_tracker(self.config)
        super()._load_checkpoint()
        if not self.config.trainer.get("val_only", False):
            self.files.set_aside_after(self.global_steps)
        if self.global_steps > 0:
            folder = checkpoint.resume_folder(self.config, self.global_steps)
            state = checkpoint.load_state(folder)
            self.env_steps = int(state["env_steps"])
            self.siri.load(folder.path, state["skills"])
            if self.settings.budget.spent(self.env_steps, self.siri.machine.phase):
                self._end_here()
