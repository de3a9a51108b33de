#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/no_gate.yaml.
METHOD=no_gate EXPERIMENT=${EXPERIMENT:-no_gate} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
