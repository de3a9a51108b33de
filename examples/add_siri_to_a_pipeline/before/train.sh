#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Sourced by ../run.sh, which sets HERE, INPUTS, RUN_DIR and PYTHON_BIN.
COMMAND=(
    "$PYTHON_BIN" -m verl.trainer.main_ppo
    +siri=cpu # verl's trainer on a machine without a GPU, and nothing of SIRI
    algorithm.adv_estimator=grpo
    data.train_files="$INPUTS/train.parquet"
    data.val_files="$INPUTS/validation.parquet"
    data.train_batch_size=4
    data.max_prompt_length=128
    data.max_response_length=160
    actor_rollout_ref.model.path="$INPUTS/model"
    actor_rollout_ref.actor.ppo_mini_batch_size=4
    actor_rollout_ref.actor.optim.lr=3e-4
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.rollout.calculate_log_probs=true
    actor_rollout_ref.rollout.agent.agent_loop_config_path="$HERE/agent_loop.yaml"
    actor_rollout_ref.rollout.multi_turn.tool_config_path="$HERE/tools.yaml"
    actor_rollout_ref.rollout.multi_turn.format=hermes
    actor_rollout_ref.rollout.multi_turn.max_assistant_turns=4
    actor_rollout_ref.rollout.val_kwargs.n=16
    actor_rollout_ref.rollout.val_kwargs.do_sample=true
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0
    trainer.default_local_dir="$RUN_DIR"
    trainer.total_training_steps=16
    trainer.total_epochs=1000
    trainer.test_freq=2
    trainer.save_freq=-1
)
