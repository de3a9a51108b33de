#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# No internalization: skills are mined, tested and shown to the skill arm to the end; validation is on the plain prompt.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-no_internalization}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    'siri.phases.skip=[internalization]' "$@"
