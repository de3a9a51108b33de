#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# An environment of one's own: checked, then trained on with GiGPO. Runs on a CPU.
#   bash examples/own_environment/run.sh
#   bash examples/own_environment/run.sh trainer.total_training_steps=30      any override comes last
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../recipes/lib/setup.sh"
source "$REPO_ROOT/examples/lib/result.sh"
HERE="$REPO_ROOT/examples/own_environment"
RERUN=$(quoted bash "$0" "$@")
ENVIRONMENT=guess_number:GuessNumber-v0 # package:id, as Gymnasium reads it

RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/own_environment}
INPUTS=${INPUTS:-$REPO_ROOT/data/own_environment}
LOG=$RUN_DIR/run.log

install ""
setting OMP_NUM_THREADS=1
setting PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}" # where guess_number is found
act "${SIRI[@]}" check-env "$ENVIRONMENT"
for split in train validation; do
    act "${SIRI[@]}" data panel "$HERE/$split.json" --out "$INPUTS/$split.parquet"
done
if dry || missing "$INPUTS/model/config.json"; then
    stage "teaching a small model" "$PYTHON_BIN" "$HERE/prepare.py" "$INPUTS"
fi

# own: an environment of your own; cpu and cpu_small: verl's trainer and sizes for two CPU cores.
stage training "$PYTHON_BIN" -m verl.trainer.main_ppo "+siri=[own,cpu,cpu_small]" \
    siri.environment.name="$ENVIRONMENT" \
    siri.prompt.history_length=0 \
    siri.rollout.max_turns=5 \
    siri.phases.fixed=warm_up \
    data.train_files="$INPUTS/train.parquet" \
    data.val_files="$INPUTS/validation.parquet" \
    data.train_batch_size=8 \
    data.max_prompt_length=64 \
    data.max_response_length=24 \
    actor_rollout_ref.model.path="$INPUTS/model" \
    actor_rollout_ref.actor.optim.lr=5e-4 \
    actor_rollout_ref.rollout.val_kwargs.n=16 \
    actor_rollout_ref.rollout.val_kwargs.do_sample=true \
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0 \
    trainer.total_training_steps=30 \
    trainer.test_freq=5 \
    trainer.save_freq=-1 \
    trainer.default_local_dir="$RUN_DIR" \
    "$@"
show_result
