#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Plain GiGPO at the same number of environment steps: no skills at all.
set -euo pipefail
export EXPERIMENT=${EXPERIMENT:-plain_gigpo}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../gigpo_webshop.sh" "$@"
