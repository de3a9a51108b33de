#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/skills_in_prompt.yaml.
METHOD=skills_in_prompt EXPERIMENT=${EXPERIMENT:-skills_in_prompt} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
