#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/self_imitation.yaml. TOKENS and MINING_STEPS are the compared
# run's; `siri-verl story RUN` prints both.
set -euo pipefail
: "${TOKENS:?set it to the gated tokens per step of the compared run, which siri-verl story RUN says}"
: "${MINING_STEPS:?set it to the steps of mining of the compared run, which siri-verl story RUN says}"
for name in TOKENS MINING_STEPS; do
    if ! [[ "${!name}" =~ ^[1-9][0-9]*$ ]]; then
        echo "$name=${!name}: use a whole number of at least 1" >&2
        exit 1
    fi
done
METHOD=self_imitation EXPERIMENT=${EXPERIMENT:-self_imitation} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    siri.control.self_imitation_tokens="$TOKENS" siri.phases.mining_max_steps="$MINING_STEPS" "$@"
