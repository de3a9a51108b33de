#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# The falsifier: a validated skill's text is replaced by a random summary of the trajectory it came from. If skills help
# by what they say, nothing may be gained here.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-random_skills}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    siri.mining.random_skills=true "$@"
