#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/no_internalization.yaml.
METHOD=no_internalization EXPERIMENT=${EXPERIMENT:-no_internalization} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
