# SPDX-License-Identifier: Apache-2.0
"""The recipes' installation: which build of torch is installed on which machine, and what the user is told."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSION = re.search(r"^torch==(.+)$", (ROOT / "constraints-cpu.txt").read_text(), re.MULTILINE)[1]
INDEX = "https://download.pytorch.org/whl/cpu"
CPU_BUILD = f"--no-deps --retries 1 --extra-index-url {INDEX} torch=={VERSION}+cpu"
PINNED = "-c constraints-cpu.txt"

PYTHON = """#!/bin/sh
[ "$1" = -c ] && exit 0                     # the check of the version
shift 5                                     # -m pip install --progress-bar off
echo "$@" >>"$CALLS"
case "$*" in *+cpu) exit "$NO_CPU_BUILD" ;; esac
"""


def install(tmp_path, extras="", gpus="", system="Linux", no_cpu_build=0, **variables):
    """Runs the recipes' `install` with stand-ins for python (pip), nvidia-smi and uname; what pip was asked for."""
    programs = {
        "bin/nvidia-smi": f"#!/bin/sh\nprintf '{gpus}'\n",
        "bin/uname": f"#!/bin/sh\necho {system}\n",
        "venv/bin/python": PYTHON,
    }
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    knobs = ("DRY_RUN", "SKIP_INSTALL", "TORCH_INDEX", "WHEELS", "LOG", "VERBOSE")
    environment = {key: value for key, value in os.environ.items() if key not in knobs} | {
        "PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}",
        "VENV": f"{tmp_path}/venv",
        "PYTHON": f"{tmp_path}/venv/bin/python",
        "CALLS": f"{tmp_path}/calls",
        "NO_CPU_BUILD": str(no_cpu_build),
        **variables,
    }
    script = f'set -euo pipefail; source recipes/lib/setup.sh; install "{extras}"'
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    calls = tmp_path / "calls"
    return calls.read_text().splitlines() if calls.exists() else [], done


@pytest.mark.parametrize("gpus", ["", "No devices were found\\n"])
def test_without_a_gpu_on_linux_the_cpu_build_is_installed_and_named(tmp_path, gpus):
    calls, done = install(tmp_path, "dev", gpus)
    assert calls == [CPU_BUILD, f"{PINNED} -e .[dev]"]
    assert f"torch {VERSION}+cpu: the CPU build, since no GPU was found" in done.stdout.splitlines()
    again, _ = install(tmp_path, "dev", gpus)
    assert again == calls, "once per set of extras"


def test_where_no_index_offers_the_cpu_build_the_user_is_told_and_pips_index_serves(tmp_path):
    calls, done = install(tmp_path, no_cpu_build=1, TORCH_INDEX="https://example.org/cpu")
    assert calls == [CPU_BUILD.replace(INDEX, "https://example.org/cpu"), f"{PINNED} torch", f"{PINNED} -e ."]
    assert f"torch {VERSION}+cpu: not found, also not at TORCH_INDEX=https://example.org/cpu (" in done.stderr
    assert f"installing torch {VERSION}, which from PyPI brings several GB of CUDA packages" in done.stderr
    assert "the CPU build" not in done.stdout


def test_a_folder_of_wheels_takes_the_place_of_all_indexes(tmp_path):
    wheels = f"--no-index --find-links {tmp_path}"
    calls, done = install(tmp_path, no_cpu_build=1, WHEELS=str(tmp_path))
    torch = f"torch=={VERSION}+cpu"
    assert calls == [
        f"{wheels} {words}" for words in (f"--no-deps --retries 1 {torch}", f"{PINNED} torch", f"{PINNED} -e .")
    ]
    assert f"{VERSION}+cpu: not found ({tmp_path}" in done.stderr


def test_an_empty_torch_index_leaves_pips_own_indexes(tmp_path):
    calls, _ = install(tmp_path, TORCH_INDEX="")
    assert calls[0] == f"--no-deps --retries 1 torch=={VERSION}+cpu"


def test_with_a_gpu_nothing_is_pinned(tmp_path):
    calls, done = install(tmp_path, "gpu,drive", "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\\n")
    assert calls == ["-e .[gpu,drive]"] and "CPU" not in done.stdout


@pytest.mark.parametrize("extras", ["gpu", "gpu-sglang"])
def test_extras_for_gpus_keep_their_own_torch_where_no_gpu_is_found(tmp_path, extras):
    calls, _ = install(tmp_path, extras)
    assert calls == [f"-e .[{extras}]"]


def test_elsewhere_than_on_linux_the_usual_build_is_for_cpus(tmp_path):
    calls, _ = install(tmp_path, system="Darwin")
    assert calls == [f"{PINNED} torch", f"{PINNED} -e ."]


def test_a_dry_run_prints_both_ways(tmp_path):
    calls, done = install(tmp_path, DRY_RUN="1")
    first, second, third = done.stdout.splitlines()[-3:]
    pip = f"{tmp_path}/venv/bin/python -m pip install"
    assert first == f"{pip} {CPU_BUILD} ||" and second == f"{pip} {PINNED} torch" and third == f"{pip} {PINNED} -e ."
    assert calls == []
