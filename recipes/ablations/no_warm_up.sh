#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# No warm-up: skills are mined and tested from the first step.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-no_warm_up}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    'siri.phases.skip=[warm_up]' "$@"
