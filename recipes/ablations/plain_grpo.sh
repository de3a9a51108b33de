#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Plain GRPO at the same number of environment steps: no skills, no step advantage.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-plain_grpo}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../grpo_webshop.sh" "$@"
