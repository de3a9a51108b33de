#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/no_warm_up.yaml.
METHOD=no_warm_up EXPERIMENT=${EXPERIMENT:-no_warm_up} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
