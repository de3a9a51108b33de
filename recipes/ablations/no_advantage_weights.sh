#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Internalization without advantage weights: every gated token has weight 1.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-no_advantage_weights}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    siri.internalization.advantage_weights=false "$@"
