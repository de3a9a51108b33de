#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Internalization without the gate: every skill run is learned from, whatever the skill's effect in its group.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-no_gate}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    siri.internalization.gate=false "$@"
