#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Skills kept in the prompt: validation shows the best active skill too. Its numbers are not of the plain policy.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-skills_in_prompt}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    siri.control.skills_in_prompt=true "$@"
