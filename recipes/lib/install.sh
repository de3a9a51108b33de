# SPDX-License-Identifier: Apache-2.0

# Sourced by setup.sh: makes the virtual environment and installs siri_verl into it.
# Knobs: VENV, PYTHON (default: the first python3.11, 3.12, 3.10 or python3 found), SKIP_INSTALL=1, WHEELS (a folder
# to install from, without a network), TORCH_INDEX (package index with torch's CPU builds, beside those that pip is
# configured with; empty: none).

FROM=()
[[ -z "${WHEELS:-}" ]] || FROM=(--no-index --find-links "$WHEELS")

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
        if ! has_gpu && [[ ",$extras" != *,gpu* ]]; then
            constraints=(-c constraints-cpu.txt)
            # torch alone first: what depends on it then finds it and takes no other build.
            install_cpu_torch
        fi
        pip_install "${constraints[@]}" -e ".${extras:+[$extras]}"
        dry || touch "$stamp"
    fi
    export PATH="$VENV/bin:$PATH"
}

# install_cpu_torch: installs the torch of constraints-cpu.txt, on Linux its CPU build if a package index offers one, and
# prints which build was installed. On Linux PyPI's own build brings several GB of CUDA packages; elsewhere it is for CPUs.
install_cpu_torch() {
    local version cpu_build index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
    [[ -z "${WHEELS:-}" ]] || index=""
    version=$(sed -n 's/^torch==//p' constraints-cpu.txt)
    if [[ "$(uname -s)" == Linux ]]; then
        # Without its dependencies, which pip would look up in this index too; one retry, for it may be unreachable.
        cpu_build=(--no-deps --retries 1 ${index:+--extra-index-url "$index"} "torch==$version+cpu")
        if dry; then
            echo "$(quoted "$PYTHON_BIN" -m pip install "${FROM[@]}" "${cpu_build[@]}") ||"
        elif run_pip "${cpu_build[@]}"; then
            echo "torch $version+cpu: the CPU build, since no GPU was found"
            return
        else
            echo "torch $version+cpu: not found${index:+, also not at TORCH_INDEX=$index} (${LOG:-$VENV/install.log}); installing" \
                "torch $version, which from PyPI brings several GB of CUDA packages on Linux" >&2
        fi
    fi
    pip_install -c constraints-cpu.txt torch
}

# pip_install ARGUMENTS...: installs packages, or ends here with pip's exit code and the end of its output.
pip_install() {
    local log=${LOG:-$VENV/install.log} code=0
    if dry; then
        quoted "$PYTHON_BIN" -m pip install "${FROM[@]}" "$@"
        return
    fi
    run_pip "$@" || code=$?
    if ((code)); then
        [[ "${VERBOSE:-0}" == 1 ]] || tail -n "$LAST_LINES" "$log" >&2
        echo "installing: failed with exit code $code; the whole log: $log" >&2
        exit "$code"
    fi
}

# run_pip ARGUMENTS...: installs packages and shows how far pip is; returns pip's exit code.
run_pip() {
    local log=${LOG:-$VENV/install.log} code=0
    mkdir -p "$(dirname "$log")"
    trap 'echo; echo "stopped; what is installed stays"; echo "go on with: $RERUN"; exit 130' INT
    "$PYTHON_BIN" -m pip install --progress-bar off "${FROM[@]}" "$@" 2>&1 | show_pip "$log" || code=$?
    trap - INT
    return "$code"
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
