#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# An agent loop of one's own in verl's own synchronous trainer, with GiGPO or GRPO by one flag. Runs on a CPU.
#   bash examples/one_flag/run.sh                       algorithm.adv_estimator=gigpo
#   bash examples/one_flag/run.sh grpo                  algorithm.adv_estimator=grpo, nothing else changed
#   bash examples/one_flag/run.sh gigpo trainer.v1.trainer_mode=colocate_async      any override comes last
#   bash examples/one_flag/compare.sh                   both, three runs each, and a page that compares them
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../recipes/lib/setup.sh"
HERE="$REPO_ROOT/examples/one_flag"
RERUN=$(quoted bash "$0" "$@")

ESTIMATOR=gigpo
if [[ $# -gt 0 && "$1" != *=* ]]; then
    ESTIMATOR=$1
    shift
fi
RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/one_flag_$ESTIMATOR}
INPUTS=${INPUTS:-$REPO_ROOT/data/one_flag}
LOG=$RUN_DIR/run.log

install ""
setting OMP_NUM_THREADS=1
setting PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}" # where verl's workers find corridor_loop
setting VERL_FILE_LOGGER_PATH="$RUN_DIR/metrics.jsonl" # of verl's logger `file`, which `siri-verl curve` reads
act mkdir -p "$RUN_DIR"
if dry || missing "$INPUTS/validation.parquet"; then
    stage "teaching a small model" "$PYTHON_BIN" "$HERE/prepare.py" "$INPUTS"
fi

DATA=(
    data.train_files="$INPUTS/train.parquet"
    data.val_files="$INPUTS/validation.parquet"
    data.train_batch_size=4
    data.max_prompt_length=64
    data.max_response_length=8
)
ACTOR=(
    actor_rollout_ref.model.path="$INPUTS/model"
    actor_rollout_ref.actor.ppo_mini_batch_size=4
    actor_rollout_ref.actor.optim.lr=3e-4
)
ROLLOUT=(
    actor_rollout_ref.rollout.n=8
    actor_rollout_ref.rollout.agent.agent_loop_config_path="$HERE/agent_loop.yaml"
    actor_rollout_ref.rollout.val_kwargs.n=16
    actor_rollout_ref.rollout.val_kwargs.do_sample=true
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0
)
TRAINER=(
    trainer.v1.trainer_mode=sync
    trainer.experiment_name="one_flag_$ESTIMATOR"
    trainer.default_local_dir="$RUN_DIR"
    "trainer.logger=[siri,file]"
    trainer.total_training_steps=8
    trainer.total_epochs=1000
    trainer.test_freq=2
    trainer.save_freq=-1
)

# +siri=cpu is verl's trainer on a machine without a GPU, and nothing of SIRI; with GPUs leave it out.
stage training "$PYTHON_BIN" -m verl.trainer.main_ppo +siri=cpu algorithm.adv_estimator="$ESTIMATOR" \
    "${DATA[@]}" "${ACTOR[@]}" "${ROLLOUT[@]}" "${TRAINER[@]}" "$@"
act "${SIRI[@]}" curve "$RUN_DIR"
