# SPDX-License-Identifier: Apache-2.0
"""The `siri` trainer mode: verl's synchronous V1 trainer over rows that are turns, and SIRI's three phases.

    python -m verl.trainer.main_ppo +siri=webshop ...        # the group sets trainer.v1.trainer_mode=siri

One step: skills are mined if it is time; each task's group is dealt to a plain and a skill arm; episodes are played;
treatment effects become evidence and decisions; beneficial skill turns join the batch on their plain prompts; verl
computes log-probs and advantages and updates the actor with one loss; the phase may move.

What it adds to verl's `sync` mode in any phase: settings are checked before workers start; the batch is put in an order
that does not depend on which episode finished first; anchors reach the estimator; the number of optimizer steps does
not depend on padding; a non-finite update stops the run and names the rows; metrics under `siri/` and a JSON-lines copy
of all metrics.
"""

from __future__ import annotations

import logging
import math
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from omegaconf import DictConfig
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict

from siri_verl.failures import require
from siri_verl.rollout.task_columns import add_columns
from siri_verl.runs import checkpoint
from siri_verl.runs.writer import RunWriter
from siri_verl.settings.read import siri_settings
from siri_verl.skills.bank_file import dump_bank
from siri_verl.training import internalization_rows, update_guard
from siri_verl.training import metrics as batch_metrics
from siri_verl.training import prompt_log as proof
from siri_verl.training import sample as trajectory_log
from siri_verl.training.assembly import make_skill_run, make_writer
from siri_verl.training.estimator import last_advantages, use_table, weighting_advantages
from siri_verl.training.loss import LAMBDA, siri_loss
from siri_verl.training.preflight.run import preflight
from siri_verl.training.queue import RowBatch
from siri_verl.training.step_table import StepTable, canonical_order

logger = logging.getLogger(__name__)


@register_trainer("siri")
class SiriTrainer(PPOTrainerSync):
    """verl's PPOTrainerSync (verl/trainer/ppo/v1/trainer_sync.py) with turns as rows and SIRI's phases."""

    def __init__(self, config: DictConfig):
        require()
        self.settings = siri_settings(config)
        preflight(config, self.settings)
        super().__init__(config)
        self.files = RunWriter(config, self.settings.seed)
        self.background = ThreadPoolExecutor(max_workers=1)
        self.env_steps = 0
        self.table: StepTable | None = None
        self.reading: Future[tuple[StepTable, dict[str, float]]] | None = None
        self.task_of: dict[str, str] = {}
        self.extra: internalization_rows.ExtraRows | None = None
        self.step_metrics: dict[str, float] = {}

    # ---- set-up --------------------------------------------------------------------------------------------------

    def _build_replay_buffer(self):
        # verl takes every mode but "sync" for an asynchronous one, in five places.
        self.trainer_mode = "sync"
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = self.settings.rollout.poll_interval
        sample = buffer.sample

        def checked_sample(global_steps: int, partition_id: str, batch_size: int):
            batch, metrics = sample(global_steps=global_steps, partition_id=partition_id, batch_size=batch_size)
            if partition_id == "val":
                sessions = self.config.actor_rollout_ref.rollout.val_kwargs.n
                batch_metrics.check_sessions(batch.keys, batch_size * sessions)
            if partition_id == "val" and not self.settings.control.skills_in_prompt:
                proof.check_validation_prompts(batch.keys, self.skills.bank, self.tokenizer)
            if partition_id == "val":
                self.files.write_trajectories(self.sample.validation(batch.keys, batch.tags, global_steps))
            return batch, metrics

        buffer.sample = checked_sample
        return buffer

    def _init_tokenizer(self) -> None:
        super()._init_tokenizer()
        settings = self.settings
        self.skills = make_skill_run(self.config, settings, self.tokenizer)
        self.sample = trajectory_log.TrajectorySample(
            settings.samples, settings.seed, self.tokenizer, lambda skill_id: self.skills.bank[skill_id].block
        )

    def on_init_end(self) -> None:
        super().on_init_end()
        actor = omega_conf_to_dataclass(self.config.actor_rollout_ref.actor)
        self.actor_rollout_wg.set_loss_fn(partial(siri_loss, config=actor))
        self.writer = make_writer(self.config, self.settings, self.get_llm_client(), self.tokenizer)

    def fit(self, agent_loop_manager: Any) -> None:
        try:
            super().fit(agent_loop_manager)
        finally:
            self.files.close()

    # ---- before the episodes -------------------------------------------------------------------------------------

    def on_validate_begin(self) -> None:
        super().on_validate_begin()
        if self.settings.control.skills_in_prompt:
            self.agent_loop_manager.validation_skills = self.skills.validation_skills

    def on_step_begin(self) -> None:
        super().on_step_begin()
        self.step_metrics, self.task_of, self.extra = {}, {}, None
        if self.skills.mining_due(self.global_steps):
            self._mine()

    def _mine(self) -> None:
        from verl.utils.debug import marked_timer

        with marked_timer("mining", self.timing_raw):
            before = self.writer.prompt_tokens, self.writer.generated_tokens
            report = self.skills.mine(partial(self.writer, step=self.global_steps), self.global_steps)
        self.step_metrics |= {f"siri/mining/{name}": value for name, value in report.metrics().items()}
        self.step_metrics["siri/mining/prompt_tokens"] = self.writer.prompt_tokens - before[0]
        self.step_metrics["siri/mining/generated_tokens"] = self.writer.generated_tokens - before[1]

    def _next_train_batch(self, num_prompts: int | None = None) -> TensorDict:
        """Name the skill of each task's skill arm; verl's workers carry the columns to the sessions."""
        batch = super()._next_train_batch(num_prompts)
        tasks = [str(task_id) for task_id in batch["task_id"]]
        self.task_of |= {str(uid): task for uid, task in zip(batch["uid"], tasks, strict=True)}
        groups = self.skills.plan(tasks, self.global_steps)
        add_columns(batch, [group.skill for group in groups], self.skills.arm_plan.plain)
        self.step_metrics["siri/skill_dropped_groups"] = float(sum(bool(group.dropped) for group in groups))
        return batch

    # ---- after the episodes --------------------------------------------------------------------------------------

    def _balance_batch(self, batch: RowBatch, metrics: dict, **kwargs: Any) -> RowBatch:
        """The first step after sampling: order, then verl's balancing, then extra rows.

        Extra rows need the episodes' evidence at once; without them it is read while the log-probs are computed.
        """
        sessions = self.config.actor_rollout_ref.rollout.n
        batch_metrics.check_sessions(batch.keys, self.config.data.train_batch_size * sessions)
        batch.reorder(canonical_order(batch.keys, self.task_of))
        self.rows = len(batch)
        self.env_steps += self.rows
        metrics["siri/env_steps_total"] = self.env_steps
        metrics["siri/generated_tokens"] = sum(int(tag["response_len"]) for tag in batch.tags)
        read = partial(self._read_episodes, list(batch.keys), list(batch.tags), batch.partition_id)
        batch = super()._balance_batch(batch, metrics, **kwargs)
        if self.skills.machine.internalizes:
            self.table, found = read()
            metrics.update(found)
            return self._add_internalization_rows(batch, self.table)
        self.reading = self.background.submit(read)
        return batch

    def _read_episodes(
        self, keys: list[str], tags: list[dict], partition_id: str
    ) -> tuple[StepTable, dict[str, float]]:
        """The batch's turns, what they did, and what they are evidence of."""
        table = StepTable.fetch(keys, tags, partition_id)
        metrics = batch_metrics.rollout_metrics(table, success_reward=self.settings.reward.success_reward)
        decisions, effects = self.skills.learn(table, self.global_steps)
        self.skills.remember(table, table.transcripts, self.global_steps)
        proof.write_arm_prompts(table, self.tokenizer, self.files.folder.prompts, self.global_steps)
        if trajectory_log.due(self.global_steps, self.total_training_steps, self.config.trainer.test_freq):
            self.files.write_trajectories(self.sample.training(table, self.global_steps))
        return table, {**metrics, **effects, "siri/decisions": len(decisions)}

    def _optimizer_steps(self, rows: int) -> int:
        """Optimizer steps of an iteration: fixed, or verl's rows per step (ppo_mini_batch_size * rollout.n)."""
        if self.settings.update.mini_batches is not None:
            return self.settings.update.mini_batches
        actor = self.config.actor_rollout_ref.actor
        return max(1, math.ceil(rows / (actor.ppo_mini_batch_size * self.config.actor_rollout_ref.rollout.n)))

    def _micro_batch(self) -> int:
        """What a rank's rows of an optimizer step must be a multiple of: verl cuts them into equal micro-batches where
        they are not made up by tokens (verl/workers/engine/utils.py, prepare_micro_batches)."""
        roles = self.config.actor_rollout_ref
        sizes = []
        if not roles.actor.use_dynamic_bsz:
            sizes += [roles.actor.ppo_micro_batch_size_per_gpu, roles.rollout.log_prob_micro_batch_size_per_gpu]
        if self.use_reference_policy and not roles.ref.log_prob_use_dynamic_bsz:
            sizes.append(roles.ref.log_prob_micro_batch_size_per_gpu)
        return math.lcm(*sizes)

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        self.dp_size = dp_size
        self.optimizer_steps = self._optimizer_steps(self.rows)
        multiple = dp_size * self.optimizer_steps * self._micro_batch()
        if self.use_critic:  # its optimizer steps keep verl's rows
            critic_rows = self.config.critic.ppo_mini_batch_size * self.config.actor_rollout_ref.rollout.n
            multiple = math.lcm(multiple, critic_rows)
        return multiple

    def _add_internalization_rows(self, batch: RowBatch, table: StepTable) -> RowBatch:
        advantage = weighting_advantages(table, self.config.algorithm)
        is_open, weight = self.skills.select(table, advantage, self.global_steps)
        span = self.settings.internalization.span
        selection = internalization_rows.select(table, is_open, weight, self.optimizer_steps, span)
        larger, self.extra = internalization_rows.append(
            batch,
            table,
            selection,
            self.settings.internalization,
            dp_size=self.dp_size,
            optimizer_steps=self.optimizer_steps,
            micro_batch=self._micro_batch(),
        )
        return larger

    def _compute_advantage(self, batch: RowBatch, metrics: dict) -> RowBatch:
        if self.reading is not None:
            self.table, found = self.reading.result()
            self.reading = None
            metrics.update(found)
        assert self.table is not None
        table = self.table.aligned_to(batch.keys, batch.tags)
        with use_table(table):
            batch = super()._compute_advantage(batch, metrics)
            if self.config.algorithm.adv_estimator == "gigpo":
                metrics.update(batch_metrics.advantage_metrics(last_advantages(), table))
        if self.extra is not None and self.extra.added:
            batch = self._put_weights(batch, table, metrics)
        return batch

    def _put_weights(self, batch: RowBatch, table: StepTable, metrics: dict) -> RowBatch:
        assert self.extra is not None
        settings = self.settings.internalization
        tokens = int(table.span_tokens(settings.span)[table.usable].sum())
        batch, column = internalization_rows.put_weights(batch, self.extra, settings, tokens)
        metrics.update({f"siri/internalization/{name}": value for name, value in column.metrics.items()})
        if column.metrics.get("already_known"):
            logger.warning(
                "step %d: the plain policy already gives gated tokens a log-prob near 0; little is left to learn",
                self.global_steps,
            )
        return batch

    def _update_actor(self, batch: RowBatch, metrics: dict) -> RowBatch:
        actor = self.config.actor_rollout_ref.actor
        rows = len(batch) // self.optimizer_steps
        added = len(self.extra.added) // self.optimizer_steps if self.extra else 0
        weight = self.skills.next_lambda() if self.skills.machine.internalizes else 0.0
        # As PPOTrainer._update_actor, with our rows per step and without teachers. The loss's own count of rows leaves
        # internalization rows out.
        batch.extra_info.update(
            {
                "calculate_entropy": actor.calculate_entropy or actor.entropy_coeff != 0.0,
                "distillation_use_topk": False,
                "distillation_only": False,
                "global_batch_size": rows - added,
                "mini_batch_size": rows,
                "epochs": actor.ppo_epochs,
                "seed": actor.data_loader_seed,
                "dataloader_kwargs": {"shuffle": actor.shuffle},
                "temperature": self.config.actor_rollout_ref.rollout.temperature,
                LAMBDA: weight,
            }
        )
        output = self.actor_rollout_wg.update_actor(batch)
        update_guard.check_update(output["metrics"], batch)
        output = rename_dict(output["metrics"], "actor/")
        output["perf/mfu/actor"] = output.pop("actor/mfu")
        metrics.update(reduce_metrics(output))
        metrics["siri/updates"] = self.optimizer_steps * actor.ppo_epochs
        metrics["siri/internalization/lambda"] = weight
        metrics["siri/internalization/rows_added"] = len(self.extra.added) if self.extra else 0
        return batch

    def step(self, metrics: dict, timing_raw: dict) -> RowBatch:
        batch = super().step(metrics, timing_raw)
        self._end_step(metrics)  # here, since verl leaves the update out while trainer.critic_warmup lasts
        return batch

    def _end_step(self, metrics: dict) -> None:
        assert self.table is not None
        metrics.update(self.skills.metrics())
        move = self.skills.end_step(self.table, self.global_steps)
        if move is not None:
            print(f"step {move.step}: phase {move.before} -> {move.after}: {move.reason}", flush=True)
        metrics.update(self.step_metrics)
        self.files.write_bank(dump_bank(self.skills.bank))
        if self.settings.budget.spent(self.env_steps, self.skills.machine.phase):
            self._end_here()

    def _end_here(self) -> None:
        """Make this step the last. verl's loop names its last step before playing it, so its bound is moved to the
        step that is running, and checkpoint and validation are asked for by frequency."""
        trainer = self.config.trainer
        self.total_training_steps = self.global_steps
        for name in ("save_freq", "test_freq"):
            if trainer[name] > 0:
                trainer[name] = max(1, self.global_steps)

    # ---- metrics -------------------------------------------------------------------------------------------------

    def _compute_metrics(self, batch: RowBatch, metrics: dict, timing_raw: dict, global_steps: int, epoch: int):
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        self.files.write_metrics("train", global_steps, metrics)

    def _val_metrics_update(
        self, data_sources: list, sample_uids: list, reward_extra_infos_dict: dict, sample_turns: list, **kwargs: Any
    ) -> dict[str, float]:
        infos = dict(reward_extra_infos_dict)
        texts = {name: infos.pop(name) for name in batch_metrics.TEXT_INFOS if name in infos}
        metrics = batch_metrics.validation_metrics({**infos, **texts})
        metrics.update(super()._val_metrics_update(data_sources, sample_uids, infos, sample_turns, **kwargs))
        self.files.write_metrics("validation", self.global_steps, metrics)
        return metrics

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        # Own state first: verl writes its tracker file inside, and what comes after it can be lost.
        folder = self.files.folder.checkpoint(self.global_steps)
        checkpoint.save_state(folder, {"env_steps": self.env_steps, "skills": self.skills.save(folder.path)})
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if not self.config.trainer.get("val_only", False):
            self.files.set_aside_after(self.global_steps)
        if self.global_steps > 0:
            folder = checkpoint.resume_folder(self.config, self.global_steps)
            state = checkpoint.load_state(folder)
            self.env_steps = int(state["env_steps"])
            self.skills.load(folder.path, state["skills"])
            if self.settings.budget.spent(self.env_steps, self.skills.machine.phase):
                self._end_here()
