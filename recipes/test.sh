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

# Sets up a virtual environment and runs the quality gates and the everyday tests. Needs g++ and make, for ALFWorld.
#   bash recipes/test.sh                    everything that runs within half an hour on two cores
#   bash recipes/test.sh -m slow            the long ones
#   DRY_RUN=1 bash recipes/test.sh          print the commands
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
install dev,alfworld

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
act "$PYTHON_BIN" -m ruff check .
act "$PYTHON_BIN" -m ruff format --check .
act "$PYTHON_BIN" -m mypy
act "$PYTHON_BIN" -m pytest -q "$@"
