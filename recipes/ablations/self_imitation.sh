#!/usr/bin/env bash
# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

# GiGPO with self-imitation: the same loss and lambda on positive-advantage plain action tokens, as many per step as the
# compared run's gate let through, from the same step on. Is it internalization, or imitation of lucky successes?
# TOKENS and MINING_STEPS are the compared run's; `siri-verl story RUN` says both.
set -euo pipefail
: "${TOKENS:?set it to the gated tokens per step of the compared run, which siri-verl story RUN says}"
: "${MINING_STEPS:?set it to the steps of mining of the compared run, which siri-verl story RUN says}"
export EXPERIMENT=${EXPERIMENT:-self_imitation}
exec bash "$(dirname "${BASH_SOURCE[0]}")/../siri_webshop.sh" \
    siri.internalization.source=self_imitation siri.control.self_imitation_tokens="$TOKENS" \
    siri.phases.mining_max_steps="$MINING_STEPS" siri.phases.allow_empty=true "$@"
