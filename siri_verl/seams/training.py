# SPDX-License-Identifier: Apache-2.0
"""The places where siri_verl depends on verl's internals, and what to change when one of them changes.

`siri-verl doctor` and `tests/contracts` check this table, so that an upgrade of verl fails in a named place with
advice.
"""

from __future__ import annotations

from siri_verl.seams.seam import Seam

V1 = "verl.trainer.ppo.v1"
FSDP = "verl.workers.engine.fsdp.transformer_impl"
SOFT_TARGETS = "siri_verl/training/soft_targets.py"


def _trainer(name: str, parameters: str, advice: str) -> Seam:
    names = tuple(parameters.split())
    return Seam(f"{V1}.trainer_base:PPOTrainer.{name}", names, "siri_verl/training/trainer.py", advice)


SEAMS: tuple[Seam, ...] = (
    Seam(
        f"{V1}.trainer_base:register_trainer",
        ("name",),
        "siri_verl/training/trainer.py",
        "register the trainer mode 'siri' the way verl now registers trainers",
    ),
    Seam(
        f"{V1}.trainer_sync:PPOTrainerSync",
        None,
        "siri_verl/training/trainer.py",
        "derive SiriTrainer from verl's new synchronous V1 trainer",
    ),
    Seam(
        f"{V1}.trainer_base:PPOTrainer.__init__",
        ("self", "config"),
        "siri_verl/registration.py",
        "check GiGPO's settings where verl's trainers now take the configuration",
    ),
    Seam(
        "verl.workers.rollout.replica:RolloutReplicaRegistry._registry",
        None,
        "siri_verl/training/preflight/start.py",
        "read the names of rollout servers where verl now keeps them",
    ),
    Seam(
        "verl.utils.tracking:Tracking.supported_backend",
        None,
        "siri_verl/training/preflight/start.py",
        "read the names of loggers where verl now keeps them",
    ),
    Seam(
        "verl.utils.tracking:Tracking.__init__",
        ("self", "project_name", "experiment_name", "default_backend", "config"),
        "siri_verl/training/screen_logger.py",
        "add the logger `siri` where verl now makes its loggers",
        source=("default_backend", "self.logger"),
    ),
    Seam(
        "verl.utils.config:validate_config",
        ("config", "use_reference_policy", "use_critic"),
        "siri_verl/training/driver.py",
        "check the settings where verl's driver now has the whole configuration, before Ray starts",
    ),
    Seam(
        "hydra._internal.config_loader_impl:ConfigLoaderImpl._apply_overrides_to_config",
        ("overrides", "cfg"),
        "siri_verl/settings/overrides.py",
        "explain a misspelt setting where Hydra now applies the command line",
        source=("Could not override",),
    ),
    Seam(
        "verl.utils.tokenizer.continuous_token_wiring:infer_continuous_token_model_family",
        ("hf_model_type", "has_multimodal_processor"),
        "siri_verl/rollout/agent_loop.py",
        "silence the warning that verl now logs for a loop without a model type",
        source=("No model-specific Continuous Token builder",),
    ),
    _trainer("_build_replay_buffer", "self", "set trainer_mode and poll_interval where the buffer is now built"),
    _trainer(
        "_balance_batch",
        "self batch metrics logging_prefix keep_minibatch",
        "move ordering, counting and reading of rows to the first step after sampling",
    ),
    _trainer(
        "_get_required_batch_multiple",
        "self dp_size",
        "set SiriStep.layout, and pad the batch to its multiple, where verl now pads",
    ),
    _trainer(
        "_compute_advantage",
        "self batch metrics",
        "hand the step's advantages to the estimator around the new advantage step",
    ),
    _trainer("_log_rollout_data", "self batch timing_raw rollout_data_dir", "leave padding out of verl's dump"),
    Seam(
        f"{V1}.trainer_base:compute_rollout_correction_and_add_to_batch",
        ("batch", "rollout_corr_config"),
        "siri_verl/training/estimator.py",
        "leave rows without tokens out of the metrics of rollout correction",
    ),
    Seam(
        "verl.utils.transferqueue_utils:async_kv_batch_meta2batch_meta",
        ("meta",),
        "siri_verl/training/queue.py",
        "restrict the columns that worker calls fetch (tensors_alone) the way verl now selects them",
        source=("batch_meta = batch_meta.select_fields(fields)",),
    ),
    _trainer(
        "_compute_old_log_prob",
        "self batch metrics",
        "restrict the columns that worker calls fetch where verl now calls compute_log_prob",
    ),
    _trainer("_update_actor", "self batch metrics", "compare with PPOTrainer._update_actor and carry its changes over"),
    Seam(
        FSDP,
        None,
        "siri_verl/training/internalization_rows.py",
        "count the tokens of an update where verl now counts them; internalization rows must stay out of that count",
        source=('data["loss_mask"].sum()',),
    ),
    Seam(
        f"{V1}.agent_loop_tq:AgentLoopWorkerTQ.__ray_metadata__.modified_class._agent_loop_postprocess",
        None,
        "siri_verl/training/step_table.py",
        "read uid, session and turn of a row from the key verl now gives it, and its loss mask where it now stands",
        source=('f"{uid}_{session_id}_{i}"', 'field["loss_mask"] = field["response_mask"]'),
    ),
    _trainer(
        "_compute_metrics",
        "self batch metrics timing_raw global_steps epoch",
        "write metrics.jsonl where verl now completes a step's metrics",
    ),
    _trainer(
        "_val_metrics_update",
        "self data_sources sample_uids reward_extra_infos_dict sample_turns expected_acc_counts",
        "compute validation intervals from where reward_extra_info now arrives",
    ),
    _trainer("_save_checkpoint", "self", "write siri_state.json before verl writes its tracker file"),
    _trainer("_load_checkpoint", "self", "read siri_state.json after verl set global_steps"),
    _trainer(
        "step",
        "self metrics timing_raw",
        "check that batches still come from replay_buffer.sample; end the step (phase, bank, budget) after it",
    ),
    _trainer("_next_train_batch", "self num_prompts", "name tasks and skills where verl now draws a batch of tasks"),
    _trainer("_init_dataloader", "self", "order the training tasks where their dataset and loader are now made"),
    _trainer("_init_tokenizer", "self", "set the skills up where the tokenizer is now at hand"),
    _trainer("on_init_end", "self", "hand the loss to the workers once they are up"),
    _trainer("fit", "self agent_loop_manager", "close the run's files where training now ends"),
    _trainer("on_step_begin", "self", "mine skills where the rollout servers are awake before a step"),
    _trainer("on_validate_begin", "self", "tell the rollout manager about validation where it now begins"),
    Seam(
        f"{V1}.replay_buffer:ReplayBuffer.sample",
        ("self", "global_steps", "partition_id", "batch_size"),
        "siri_verl/training/trainer.py",
        "check validation batches where they are now taken from the buffer",
    ),
    Seam(
        "ray._private.state:jobs",
        (),
        "siri_verl/runs/record.py",
        "read the driver's command line where Ray now keeps it",
    ),
    Seam(
        "verl.workers.engine_workers:ActorRolloutRefWorker.set_loss_fn",
        ("self", "loss_fn"),
        "siri_verl/training/trainer.py",
        "hand siri_loss to the actor the way verl now takes a loss",
    ),
    Seam(
        "verl.workers.utils.losses:ppo_loss",
        ("config", "model_output", "data", "dp_group"),
        "siri_verl/training/loss.py",
        "add the distillation term to verl's new policy loss",
    ),
    Seam(
        f"{FSDP}:FSDPEngineWithLMHead.prepare_model_outputs",
        ("self", "output", "output_args", "micro_batch", "logits_processor_func"),
        SOFT_TARGETS,
        "compute scores and divergences where verl now hands a micro-batch's logits to the loss",
        source=(
            "outputs = logits_processor_func(student_logits=logits_rmpad.unsqueeze(0), data=micro_batch)",
            "assert v.shape == (logits_rmpad.shape[0],)",
            "model_output[k] = torch.nested.nested_tensor_from_jagged(v, cu_seqlens)",
        ),
    ),
    Seam(
        f"{FSDP}:FSDPEngineWithLMHead.forward_step",
        ("self", "micro_batch", "loss_function", "forward_only"),
        SOFT_TARGETS,
        "join the columns of a scoring pass (gather_scores) where the engine now calls the loss before it keeps the "
        "model output",
        source=(
            "micro_batch=micro_batch, logits_processor_func=loss_function",
            "model_output=model_output, data=micro_batch, dp_group=",
            '"model_output": detach_tree(model_output)',
        ),
    ),
    Seam(
        "verl.workers.engine_workers:TrainingWorker.infer_batch",
        None,
        "siri_verl/training/teacher_scores.py",
        "ask for the loss function in a pass without gradient (compute_loss) the way verl now does",
        source=(
            'compute_loss = tu.get(data, key="compute_loss", default=True)',
            "self.loss_fn if compute_loss else None",
        ),
    ),
    Seam(
        "verl.trainer.distillation.losses:distillation_ppo_loss",
        ("config", "distillation_config", "model_output", "data", "dp_group", "student_logits", "data_format"),
        "siri_verl/training/loss.py",
        "take the logits of a micro-batch as verl's own loss of this kind now takes them",
    ),
    Seam(
        f"{V1}.agent_loop_tq:AgentLoopManagerTQ.generate_sequences",
        ("self", "prompts"),
        "siri_verl/rollout/worker.py",
        "add skill columns where tasks are now handed to the workers",
    ),
    Seam(
        f"{V1}.utils:compute_advantage_for_multi_trajectories",
        ("data", "batch_keys", "adv_estimator", "gamma", "lam", "num_repeat", "norm_adv_by_std_in_grpo", "config"),
        "siri_verl/training/estimator.py",
        "wrap the function that now sees the row keys and calls the estimator",
    ),
    Seam(
        "verl.trainer.ppo.core_algos:register_adv_est",
        ("name_or_enum",),
        "siri_verl/registration.py",
        "register 'gigpo' the way verl now registers estimators",
    ),
    Seam(
        f"{V1}.replay_buffer:ReplayBuffer._wait_for_next_poll",
        ("self", "partition_id", "last_debug_time"),
        "siri_verl/training/trainer.py",
        "find what now reads poll_interval; siri.rollout.poll_interval sets it",
    ),
    Seam(
        f"{V1}.agent_loop_tq:AgentLoopWorkerTQ.__ray_metadata__.modified_class._run_agent_loop",
        ("self", "sampling_params", "trajectory", "agent_name", "trace", "_ray_trace_ctx", "kwargs"),
        "siri_verl/rollout/worker.py",
        "tell the loop the partition ('train' or 'val') where the worker now knows it",
    ),
    Seam(
        f"{V1}.agent_loop_tq:AgentLoopWorkerTQ.__ray_metadata__.modified_class._agent_loop_postprocess",
        None,
        "siri_verl/rollout/grouped_puts.py",
        "collect the rows of a group where verl now stores them, or drop GroupedPuts if verl stores a group at once",
        source=("await tq.async_kv_batch_put(", "fields=list_of_dict_to_tensordict(fields)"),
    ),
    Seam(
        f"{V1}.agent_loop_tq:AgentLoopManagerTQ",
        None,
        "siri_verl/rollout/worker.py",
        "derive the manager from verl's new TransferQueue manager",
    ),
    Seam(
        "verl.experimental.agent_loop.agent_loop:_agent_loop_registry",
        None,
        "siri_verl/registration.py",
        "register 'siri_env' the way verl now registers agent loops",
    ),
    Seam(
        "verl.experimental.agent_loop.agent_loop:AgentLoopBase.run",
        ("self", "sampling_params", "kwargs"),
        "siri_verl/rollout/agent_loop.py",
        "adapt EnvAgentLoop.run to verl's new call",
    ),
    Seam(
        "verl.workers.rollout.llm_server:LLMServerClient.generate",
        (
            *("self", "request_id", "prompt_ids", "sampling_params", "image_data", "video_data", "audio_data"),
            *("mm_processor_kwargs", "kwargs"),
        ),
        "siri_verl/rollout/agent_loop.py",
        "adapt the generate call of EnvAgentLoop",
    ),
)
