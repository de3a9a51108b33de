#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# SIRI on the demo shop with three parts of my_method.py: a token weight, a gate and a life-cycle rule. On a CPU, by itself.
#   bash examples/own_method/run.sh
#   bash examples/own_method/run.sh trainer.total_training_steps=40      any override comes last
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$HERE${PYTHONPATH:+:$PYTHONPATH}" # where my_method is found, in every process of the run

EXPERIMENT=${EXPERIMENT:-own_method} exec bash "$HERE/../../recipes/siri_webshop.sh" \
    siri.method=my_method \
    siri.internalization.token_weight=my_method:doubled \
    siri.internalization.normalise=weights \
    siri.internalization.source=my_method:solved_and_rare \
    siri.utility.decision=my_method:sign_rule \
    siri.phases.allow_empty=true \
    "$@"
