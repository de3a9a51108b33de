#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# GRPO over turns on WebShop: as gigpo_webshop.sh, with verl's own estimator. Knobs and presets are the same.
#   bash recipes/grpo_webshop.sh
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-grpo_webshop}
exec bash "$(dirname "${BASH_SOURCE[0]}")/siri_webshop.sh" \
    siri.phases.fixed=warm_up algorithm.adv_estimator=grpo "$@"
