#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# An environment of one's own: checked, then trained on with GiGPO for a few steps. On a CPU, by itself.
#   bash examples/own_environment/run.sh
#   bash examples/own_environment/run.sh trainer.total_training_steps=40      any override comes last
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../recipes/lib/setup.sh"
HERE="$REPO_ROOT/examples/own_environment"
ENVIRONMENT=guess_number:GuessNumber-v0 # package:id, as Gymnasium reads it

RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/own_environment}
INPUTS=${INPUTS:-$REPO_ROOT/data/own_environment}

install ""
export OMP_NUM_THREADS=1
export PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}" # where guess_number is found
if [[ "${DRY_RUN:-0}" != 1 ]]; then
    siri-verl check-env "$ENVIRONMENT"
    for split in train validation; do
        siri-verl data panel "$HERE/$split.json" --out "$INPUTS/$split.parquet"
    done
fi
if missing "$INPUTS/model/config.json"; then
    "$PYTHON_BIN" "$HERE/prepare.py" "$INPUTS"
fi

# own: an environment of your own; cpu and cpu_small: verl's trainer and sizes for two CPU cores.
train "$PYTHON_BIN" -m verl.trainer.main_ppo "+siri=[own,cpu,cpu_small]" \
    siri.environment.name="$ENVIRONMENT" \
    siri.prompt.history_length=0 \
    siri.rollout.max_turns=4 \
    siri.phases.fixed=warm_up \
    data.train_files="$INPUTS/train.parquet" \
    data.val_files="$INPUTS/validation.parquet" \
    data.train_batch_size=8 \
    data.max_prompt_length=64 \
    data.max_response_length=24 \
    actor_rollout_ref.model.path="$INPUTS/model" \
    actor_rollout_ref.actor.optim.lr=5e-4 \
    actor_rollout_ref.rollout.val_kwargs.n=8 \
    actor_rollout_ref.rollout.val_kwargs.do_sample=true \
    actor_rollout_ref.rollout.val_kwargs.temperature=1.0 \
    trainer.total_training_steps=12 \
    trainer.test_freq=6 \
    trainer.save_freq=-1 \
    trainer.default_local_dir="$RUN_DIR" \
    "$@"
