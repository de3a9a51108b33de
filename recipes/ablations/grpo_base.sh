#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# SIRI on GRPO: the advantages of policy loss and weights come from verl's GRPO over turns.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-grpo_base}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    algorithm.adv_estimator=grpo "$@"
