#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# GiGPO with self-imitation: the same loss and lambda on positive-advantage plain action tokens, as many per step as the
# compared run's gate let through, from the same step on. Is it internalization, or imitation of lucky successes?
# TOKENS and MINING_STEPS are the compared run's; `siri-verl story RUN` says both.
set -euo pipefail
: "${TOKENS:?set it to the gated tokens per step of the compared run, which siri-verl story RUN says}"
: "${MINING_STEPS:?set it to the steps of mining of the compared run, which siri-verl story RUN says}"
export EXPERIMENT=${EXPERIMENT:-self_imitation}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    siri.internalization.source=self_imitation siri.control.self_imitation_tokens="$TOKENS" \
    siri.phases.mining_max_steps="$MINING_STEPS" siri.phases.allow_empty=true "$@"
