#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# GiGPO against GRPO: REPETITIONS runs of each (3), their curves in one picture, and a page with the difference.
#   bash examples/one_flag/compare.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../recipes/lib/setup.sh"
RESULTS=${RESULTS:-$REPO_ROOT/runs/one_flag}
install ""

FOLDERS=()
for repetition in $(seq "${REPETITIONS:-3}"); do
    for estimator in grpo gigpo; do
        FOLDERS+=("$RESULTS/${estimator}_$repetition")
        note "$estimator, run $repetition"
        RUN_DIR=${FOLDERS[-1]} bash "$REPO_ROOT/examples/one_flag/run.sh" "$estimator" data.seed="$repetition" "$@"
    done
done
act "${SIRI[@]}" report "${FOLDERS[@]}" --label "GiGPO=gigpo_*" --label "GRPO=grpo_*" --out "$RESULTS/report" --overwrite
note "the curves: $RESULTS/report/pictures/success_over_step.png"
