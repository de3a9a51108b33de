# SPDX-License-Identifier: Apache-2.0

# Sourced by the recipes: repository root, a Python that has siri_verl, and what hardware there is.
# Knobs: VENV (default .venv), PYTHON (default: the first python3.11, 3.12, 3.10 or python3 found), SKIP_INSTALL=1,
# DRY_RUN=1 (print the training command, one word per line, or what is run in its place, and do nothing else).

REPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$REPO_ROOT"

VENV=${VENV:-$REPO_ROOT/.venv}

# refuse TEXT: prints what is wrong and exits.
refuse() {
    echo "$1" >&2
    exit 1
}

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.10 python3}; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "siri_verl needs Python 3.10, 3.11 or 3.12 (verl does not run on newer ones); set PYTHON=/path/to/python" >&2
    return 1
}

has_gpu() {
    # grep reads to the end: -q would close the pipe, and pipefail would take that for a failure.
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep GPU >/dev/null
}

# missing FILE: whether it has to be made first; never in a dry run.
missing() {
    [[ "${DRY_RUN:-0}" != 1 && ! -e "$1" ]]
}

# train COMMAND...: shows and runs it; a dry run prints it and ends here.
train() {
    if [[ "${DRY_RUN:-0}" == 1 ]]; then
        printf '%s\n' "$@"
        exit 0
    fi
    set -x
    "$@"
    { set +x; } 2>/dev/null
}

# act COMMAND...: runs it; a dry run prints it on one line.
act() {
    if [[ "${DRY_RUN:-0}" == 1 ]]; then
        echo "$*"
    else
        "$@"
    fi
}

# need_compiler: ALFWorld's planner is compiled when it is installed, in about two minutes.
need_compiler() {
    local tool
    for tool in g++ make; do
        if ! command -v "$tool" >/dev/null 2>&1; then
            echo "$tool is missing: the extra 'alfworld' compiles its planner with g++, make and cmake (pip fetches cmake)" >&2
            return 1
        fi
    done
}

# install EXTRAS: makes the virtual environment once per set of extras and version of setup.py.
install() {
    local extras=$1 stamp python
    if [[ "${SKIP_INSTALL:-0}" == 1 || "${DRY_RUN:-0}" == 1 ]]; then
        PYTHON_BIN=${PYTHON:-python3}
        echo "extras: ${extras:-none} (not installed here)"
        return
    fi
    stamp="$VENV/.siri_verl_$(cat setup.py constraints-cpu.txt | cksum | cut -d' ' -f1)_${extras//,/_}"
    if [[ ! -f "$stamp" ]]; then
        [[ ",$extras," != *,alfworld,* ]] || need_compiler
        python=$(find_python)
        echo "installing siri_verl${extras:+[$extras]} with $python into $VENV"
        [[ -x "$VENV/bin/python" ]] || "$python" -m venv "$VENV"
        # Packages that build themselves call plain `python`.
        export PATH="$VENV/bin:$PATH"
        local constraints=()
        if ! has_gpu; then
            constraints=(-c constraints-cpu.txt)
            # torch alone first: what depends on it then finds it and takes no other build.
            "$VENV/bin/python" -m pip install --quiet "${constraints[@]}" torch
        fi
        "$VENV/bin/python" -m pip install --quiet "${constraints[@]}" -e ".${extras:+[$extras]}"
        touch "$stamp"
    fi
    PYTHON_BIN="$VENV/bin/python"
    export PATH="$VENV/bin:$PATH"
}
