#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# GiGPO on WebShop: the trainer of siri_webshop.sh, kept in its first phase. Knobs and presets are the same.
#   bash recipes/gigpo_webshop.sh
METHOD=gigpo exec bash "$(dirname "${BASH_SOURCE[0]}")/siri_webshop.sh" "$@"
