#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/grpo_base.yaml.
METHOD=grpo_base EXPERIMENT=${EXPERIMENT:-grpo_base} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
