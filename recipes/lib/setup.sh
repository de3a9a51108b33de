# SPDX-License-Identifier: Apache-2.0

# Sourced by the recipes: repository root, a Python that has siri_verl, and what hardware there is.
# Knobs: VENV (default .venv), VERBOSE=1 (show all output), DRY_RUN=1 (print the commands, ready to be pasted, and do
# nothing else); those of install.sh.

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

# stage TITLE COMMAND...: runs a command; its output goes to the run's log, its progress to the screen.
stage() {
    local title=$1 options=(--log "$LOG" --rerun "$RERUN")
    shift
    if dry; then
        echo "# $title"
        quoted "$@"
        return
    fi
    [[ "${VERBOSE:-0}" != 1 ]] || options+=(--verbose)
    [[ "$title" != training ]] || options+=(--run "$RUN_DIR")
    "${SIRI[@]}" stage --title "$title" "${options[@]}" -- "$@"
}

# setting NAME=VALUE: exports a variable; a dry run prints that too.
setting() {
    export "${1?}"
    if dry; then echo "export $(quoted "$1")"; fi
}

has_gpu() {
    # grep reads to the end: -q would close the pipe, and pipefail would take that for a failure.
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep GPU >/dev/null
}

# missing FILE: whether an input is not there; never in a dry run, whose inputs need not exist.
missing() {
    ! dry && [[ ! -e "$1" ]]
}

source "$REPO_ROOT/recipes/lib/install.sh"
