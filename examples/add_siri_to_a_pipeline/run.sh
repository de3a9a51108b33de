#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# A verl tool-agent pipeline, and the same with SIRI. Runs on a CPU.
#   bash examples/add_siri_to_a_pipeline/run.sh before                 verl's own trainer, GRPO
#   bash examples/add_siri_to_a_pipeline/run.sh after                  SIRI: skills from its own successes
#   bash examples/add_siri_to_a_pipeline/run.sh gigpo                  in between: the loop of after/, the command of before/,
#                                                                      and algorithm.adv_estimator=gigpo
#   bash examples/add_siri_to_a_pipeline/run.sh after siri.seed=2      any override comes last
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../recipes/lib/setup.sh"
source "$REPO_ROOT/examples/lib/result.sh"
HERE="$REPO_ROOT/examples/add_siri_to_a_pipeline"
RERUN=$(quoted bash "$0" "$@")

VARIANT=after
if [[ $# -gt 0 && "$1" != *=* ]]; then
    VARIANT=$1
    shift
fi
TO_FILE="trainer.logger=[siri,file]" # verl's own trainer: metrics to VERL_FILE_LOGGER_PATH
case "$VARIANT" in
before) LOOP=before SCRIPT=before OVERRIDES=("$TO_FILE") ;;
gigpo) LOOP=after SCRIPT=before OVERRIDES=(algorithm.adv_estimator=gigpo "$TO_FILE") ;;
after) LOOP=after SCRIPT=after OVERRIDES=() ;;
*)
    echo "$VARIANT: use before, gigpo or after" >&2
    exit 1
    ;;
esac
RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/post_room_$VARIANT}
INPUTS=${INPUTS:-$REPO_ROOT/data/post_room}
LOG=$RUN_DIR/run.log

install ""
setting OMP_NUM_THREADS=1
setting PYTHONPATH="$HERE/$LOOP:$HERE${PYTHONPATH:+:$PYTHONPATH}" # where verl's workers find loop and post_room
setting VERL_FILE_LOGGER_PATH="$RUN_DIR/metrics.jsonl" # of verl's logger `file`
act mkdir -p "$RUN_DIR"
if dry || missing "$INPUTS/validation.parquet"; then
    stage "teaching a small model" "$PYTHON_BIN" "$HERE/prepare.py" "$INPUTS"
fi
source "$HERE/$SCRIPT/train.sh"
stage training "${COMMAND[@]}" "${OVERRIDES[@]}" "$@"
show_result
if [[ "$VARIANT" == after ]]; then
    act "${SIRI[@]}" skills list "$RUN_DIR"
fi
