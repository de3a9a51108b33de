#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# verl's own V1 trainer, GRPO, two steps of a random model on a CPU. Usage: bash tests/e2e/grpo_cpu.sh DIR [overrides]
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
DIR=$1; shift
PYTHON=${PYTHON:-python}
mkdir -p "$DIR"
export OMP_NUM_THREADS=1
[ -f "$DIR/train.parquet" ] || "$PYTHON" "$HERE/toy/make.py" "$DIR"
"$PYTHON" -m verl.trainer.main_ppo +siri=cpu \
    algorithm.adv_estimator=grpo \
    data.train_files="$DIR/train.parquet" \
    data.val_files="$DIR/val.parquet" \
    data.train_batch_size=8 \
    data.max_prompt_length=64 \
    data.max_response_length=16 \
    actor_rollout_ref.model.path="$DIR/model" \
    actor_rollout_ref.actor.ppo_mini_batch_size=8 \
    actor_rollout_ref.actor.optim.lr=1e-3 \
    actor_rollout_ref.rollout.n=4 \
    reward.custom_reward_function.path="$HERE/toy/reward.py" \
    trainer.total_training_steps=2 \
    trainer.default_local_dir="$DIR/checkpoints" \
    "$@"
