# SPDX-License-Identifier: Apache-2.0

# Sourced by the recipes: repository root, a Python that has siri_verl, and what hardware there is.
# Knobs: VENV (default .venv), PYTHON (default: the first python3.11, 3.12, 3.10 or python3 found), SKIP_INSTALL=1,
# WHEELS (a folder to install from, without a network), VERBOSE=1 (show all output), DRY_RUN=1 (print the commands, ready to be pasted, and do nothing else).

REPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$REPO_ROOT"

VENV=${VENV:-$REPO_ROOT/.venv}
RERUN=${RERUN:-"bash $0"} # what goes on after an interrupt
LAST_LINES=20             # of a failed command's output that are shown

# refuse TEXT: prints what is wrong and exits.
refuse() {
    echo "$1" >&2
    exit 1
}

dry() {
    [[ "${DRY_RUN:-0}" == 1 ]]
}

# note TEXT: prints a line for the user; in a dry run as a comment.
note() {
    if dry; then echo "# $1"; else echo "$1"; fi
}

# quoted WORDS...: prints them on one line as a shell reads them.
quoted() {
    local word line=""
    for word in "$@"; do
        [[ "$word" =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
        line+="$word "
    done
    echo "${line% }"
}

# act COMMAND...: runs it; a dry run prints it.
act() {
    if dry; then quoted "$@"; else "$@"; fi
}

# train COMMAND...: shows a training command and runs it; a dry run prints it.
train() {
    quoted "$@"
    dry || "$@"
}

# setting NAME=VALUE: exports a variable; a dry run prints that too.
setting() {
    export "${1?}"
    if dry; then echo "export $(quoted "$1")"; fi
}

# first_command NAMES...: the first of them that is there, or the first.
first_command() {
    local name
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo "$1"
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

# missing FILE: whether an input is not there; never in a dry run, whose inputs need not exist.
missing() {
    ! dry && [[ ! -e "$1" ]]
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

# install EXTRAS: makes the virtual environment once per set of extras and version of setup.py. Sets PYTHON_BIN and SIRI,
# the command `siri-verl`. pip's output goes to LOG, else into the environment's folder.
install() {
    local extras=$1 stamp python constraints=()
    if [[ "${SKIP_INSTALL:-0}" == 1 ]]; then
        PYTHON_BIN=${PYTHON:-python3}
        SIRI=("$PYTHON_BIN" -m siri_verl)
        note "extras: ${extras:-none} (not installed here)"
        return
    fi
    PYTHON_BIN="$VENV/bin/python"
    SIRI=("$PYTHON_BIN" -m siri_verl)
    stamp="$VENV/.siri_verl_$(cat setup.py constraints-cpu.txt | cksum | cut -d' ' -f1)_${extras//,/_}"
    if [[ ! -f "$stamp" ]]; then
        if dry; then
            python=$(first_command ${PYTHON:-python3.11 python3.12 python3.10 python3})
        else
            [[ ",$extras," != *,alfworld,* ]] || need_compiler
            python=$(find_python)
        fi
        note "installing siri_verl${extras:+[$extras]} with $python into $VENV"
        [[ -x "$PYTHON_BIN" ]] || act "$python" -m venv "$VENV"
        # Packages that build themselves call plain `python`.
        if dry; then echo "export PATH=\"$VENV/bin:\$PATH\""; fi
        export PATH="$VENV/bin:$PATH"
        if ! has_gpu; then
            constraints=(-c constraints-cpu.txt)
            # torch alone first: what depends on it then finds it and takes no other build.
            pip_install "${constraints[@]}" torch
        fi
        pip_install "${constraints[@]}" -e ".${extras:+[$extras]}"
        dry || touch "$stamp"
    fi
    export PATH="$VENV/bin:$PATH"
}

# pip_install ARGUMENTS...: installs packages; pip's exit code is kept.
pip_install() {
    local log=${LOG:-$VENV/install.log} code=0
    [[ -z "${WHEELS:-}" ]] || set -- --no-index --find-links "$WHEELS" "$@"
    if dry; then
        quoted "$PYTHON_BIN" -m pip install "$@"
        return
    fi
    mkdir -p "$(dirname "$log")"
    trap 'echo; echo "stopped; what is installed stays"; echo "go on with: $RERUN"; exit 130' INT
    "$PYTHON_BIN" -m pip install --progress-bar off "$@" 2>&1 | show_pip "$log" || code=$?
    trap - INT
    if ((code)); then
        [[ "${VERBOSE:-0}" == 1 ]] || tail -n "$LAST_LINES" "$log" >&2
        echo "installing: failed with exit code $code; the whole log: $log" >&2
        exit "$code"
    fi
}

# show_pip LOG: reads pip's output, copies it to the log, and shows how far pip is.
show_pip() {
    local line found=0 state="looking for packages" last=$SECONDS
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$1"
        case "$line" in
        Collecting\ *) found=$((found + 1)) state="$found packages found" ;;
        Building\ wheel*) state="$found packages found, building one" ;;
        Installing\ collected*) state="unpacking $found packages" ;;
        esac
        if [[ "${VERBOSE:-0}" == 1 ]]; then
            printf '%s\n' "$line"
        elif [[ -t 1 ]]; then
            printf '\r\033[Kinstalling: %s, %d s' "$state" "$SECONDS"
        elif ((SECONDS - last >= 60)); then
            last=$SECONDS
            echo "installing: $state, $SECONDS s"
        fi
    done
    if [[ -t 1 && "${VERBOSE:-0}" != 1 ]]; then
        printf '\r\033[K'
    fi
    echo "installing: $found packages in $SECONDS s"
}
