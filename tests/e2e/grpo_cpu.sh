#!/usr/bin/env bash
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
