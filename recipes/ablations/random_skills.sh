#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# siri_webshop.sh with the method of siri_verl/conf/siri/random_skills.yaml.
METHOD=random_skills EXPERIMENT=${EXPERIMENT:-random_skills} exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" "$@"
