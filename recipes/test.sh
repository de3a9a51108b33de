#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Sets up a virtual environment and runs the quality gates and the everyday tests. Needs g++ and make, for ALFWorld.
#   bash recipes/test.sh                    everything that runs within half an hour on two cores
#   bash recipes/test.sh -m slow            the long ones
#   TEST_PROCESSES=1 bash recipes/test.sh   one file after the other
#   DRY_RUN=1 bash recipes/test.sh          print the commands
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
install dev,alfworld

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
act "$PYTHON_BIN" -m ruff check .
act "$PYTHON_BIN" -m ruff format --check .
act "$PYTHON_BIN" -m mypy
act "$PYTHON_BIN" -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
# A process per core; the tests of a file share a Ray, so a file stays in one process.
act "$PYTHON_BIN" -m pytest -q -n "${TEST_PROCESSES:-2}" --dist loadfile "$@"
