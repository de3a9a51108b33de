#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/no_advantage_weights.yaml.
METHOD=no_advantage_weights EXPERIMENT=${EXPERIMENT:-no_advantage_weights} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
