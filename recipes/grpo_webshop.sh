#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# GRPO over turns on WebShop: as gigpo_webshop.sh, with verl's own estimator. Knobs and presets are the same.
#   bash recipes/grpo_webshop.sh
METHOD=grpo exec bash "$(dirname "${BASH_SOURCE[0]}")/siri_webshop.sh" "$@"
