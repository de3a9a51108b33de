#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/empty_context.yaml.
METHOD=empty_context EXPERIMENT=${EXPERIMENT:-empty_context} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
