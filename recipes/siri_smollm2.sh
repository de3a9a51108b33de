#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# All three phases of SIRI with a pretrained model, SmolLM2-135M-Instruct, on a CPU: a warm start by verl's SFT trainer on
# about 200 rows of the three neutral abilities, then SIRI on two tasks of the demo shop, with full prompts and the model's
# own chat template. It shows that the machinery holds with a real model, in about 40 minutes on two idle cores; it is no
# benchmark. docs/real_model.md has its numbers.
#
#   bash recipes/siri_smollm2.sh                             everything by itself
#   bash recipes/siri_smollm2.sh siri.rollout.max_turns=4    overrides come last; knobs: recipes/README.md
#   THREADS=1 bash recipes/siri_smollm2.sh                   on a machine whose cores are busy
set -euo pipefail
export PRESET=cpu MODEL=smollm2 EXPERIMENT=${EXPERIMENT:-siri_smollm2} VAL_SIZE=${VAL_SIZE:-12} PAIRS=${PAIRS:-0}
export TRAIN_SIZE=${TRAIN_SIZE:-2}
exec bash "$(dirname "${BASH_SOURCE[0]}")/siri_webshop.sh" "$@"
