#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# A verl tool-agent pipeline, and the same with SIRI. On a CPU, by itself.
#   bash examples/add_siri_to_a_pipeline/run.sh before                 verl's own trainer, GRPO
#   bash examples/add_siri_to_a_pipeline/run.sh after                  SIRI: skills from its own successes
#   bash examples/add_siri_to_a_pipeline/run.sh gigpo                  in between: the loop of after/, the command of before/,
#                                                                      and algorithm.adv_estimator=gigpo
#   bash examples/add_siri_to_a_pipeline/run.sh after siri.seed=2      any override comes last
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../recipes/lib/setup.sh"
HERE="$REPO_ROOT/examples/add_siri_to_a_pipeline"

VARIANT=after
if [[ $# -gt 0 && "$1" != *=* ]]; then
    VARIANT=$1
    shift
fi
case "$VARIANT" in
before) LOOP=before SCRIPT=before OVERRIDES=() ;;
gigpo) LOOP=after SCRIPT=before OVERRIDES=(algorithm.adv_estimator=gigpo) ;;
after) LOOP=after SCRIPT=after OVERRIDES=() ;;
*)
    echo "$VARIANT: use before, gigpo or after" >&2
    exit 1
    ;;
esac
RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/post_room_$VARIANT}
INPUTS=${INPUTS:-$REPO_ROOT/data/post_room}

install ""
export OMP_NUM_THREADS=1
export PYTHONPATH="$HERE/$LOOP:$HERE${PYTHONPATH:+:$PYTHONPATH}" # where verl's workers find loop and post_room
if missing "$INPUTS/validation.parquet"; then
    "$PYTHON_BIN" "$HERE/prepare.py" "$INPUTS"
fi
source "$HERE/$SCRIPT/train.sh"
train "${COMMAND[@]}" "${OVERRIDES[@]}" "$@"
