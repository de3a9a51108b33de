# SPDX-License-Identifier: Apache-2.0

# Sourced by the recipes after setup.sh: checks the knobs, before anything is installed or made.

# What any recipe reads.
KNOBS=(
    METHOD PRESET SEED STEPS EXPERIMENT RUN_DIR DATA_DIR MODEL_PATH VAL_SIZE PAIRS RETEST_SPLIT
    MODEL GPUS ENGINE ROLLOUT LORA NNODES RAY_ADDRESS PLAN GPU_GIB
    THREADS VENV PYTHON SKIP_INSTALL WHEELS TORCH_INDEX VERBOSE DRY_RUN
)
# What one recipe reads: siri_webshop.sh, siri_alfworld.sh, ablations/self_imitation.sh.
WEBSHOP_KNOBS=(WEBSHOP_STORE SPLIT WEBSHOP_SIZE SHOP TRAIN_SIZE)
ALFWORLD_KNOBS=(ALFWORLD_GAMES)
ABLATION_KNOBS=(TOKENS MINING_STEPS)

# near A B: whether one letter is too many, missing or wrong, or two are swapped.
near() {
    local a=$1 b=$2
    while [[ -n "$a" && -n "$b" && "${a:0:1}" == "${b:0:1}" ]]; do a=${a:1} b=${b:1}; done
    while [[ -n "$a" && -n "$b" && "${a: -1}" == "${b: -1}" ]]; do a=${a%?} b=${b%?}; done
    ((${#a} <= 1 && ${#b} <= 1)) || [[ ${#a} == 2 && "$a" == "${b:1}${b:0:1}" ]]
}

# known_knobs: refuses a variable whose name is nearly that of a knob.
known_knobs() {
    local name knob all=("${KNOBS[@]}" "${WEBSHOP_KNOBS[@]}" "${ALFWORLD_KNOBS[@]}" "${ABLATION_KNOBS[@]}")
    while IFS= read -r name; do
        # ENV is a shell's own.
        [[ "$name" =~ ^[A-Z][A-Z_]+$ && "$name" != ENV && " ${all[*]} " != *" $name "* ]] || continue
        for knob in "${all[@]}"; do
            if near "$name" "$knob"; then
                refuse "$name=${!name}: no such knob; did you mean $knob? (recipes/README.md lists them; if another program needs $name: env -u $name bash ...)"
            fi
        done
    done < <(compgen -e)
}

# foreign_knobs NAMES...: a knob that is set and that this recipe does not read is named.
foreign_knobs() {
    local name
    for name in "$@"; do
        [[ -z "${!name:-}" ]] || echo "warning: $name=${!name}: this recipe does not read it" >&2
    done
}

# integer NAME LEAST [HINT]: a knob that is set is a whole number of at least LEAST.
integer() {
    local value=${!1:-}
    [[ -z "$value" ]] || { [[ "$value" =~ ^[0-9]{1,9}$ ]] && ((10#$value >= $2)); } ||
        refuse "$1=$value: use a whole number of at least $2${3:+; $3}"
}

# switch NAME: a knob that is set is 0 or 1.
switch() {
    local value=${!1:-}
    [[ -z "$value" || "$value" == 0 || "$value" == 1 ]] || refuse "$1=$value: use 1 or 0"
}

# plain_path NAME: a path that Hydra reads as one value.
plain_path() {
    local value=${!1:-}
    if [[ "$value" == *[\,\[\]\{\}\(\)\"\'\\\$=]* ]]; then
        refuse "$1=$value: has a character of , = \$ \\ quotes or brackets, which Hydra would read as syntax; use another name"
    fi
}

# check_knobs ENVIRONMENT: all knobs that do not depend on the preset.
check_knobs() {
    local name
    known_knobs
    if [[ "$1" == webshop ]]; then foreign_knobs "${ALFWORLD_KNOBS[@]}"; else foreign_knobs "${WEBSHOP_KNOBS[@]}"; fi
    integer SEED 0
    integer STEPS 1
    integer VAL_SIZE 1
    integer TRAIN_SIZE 1
    integer THREADS 1
    integer PAIRS 0 "PAIRS=0 leaves the re-test out"
    for name in PLAN SKIP_INSTALL VERBOSE DRY_RUN; do switch "$name"; done
    [[ -z "${THREADS:-}" || "${MODEL:-}" == smollm2 ]] ||
        refuse "THREADS=$THREADS: a knob of MODEL=smollm2 on the CPU; the tiny models run fastest with one thread"
    [[ -z "${WHEELS:-}" || -d "$WHEELS" ]] || refuse "WHEELS=$WHEELS: no such folder; it holds wheels to install from"
    for name in RUN_DIR DATA_DIR MODEL_PATH WEBSHOP_STORE SHOP ALFWORLD_GAMES; do plain_path "$name"; done
    [[ "${EXPERIMENT:-run}" =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
        refuse "EXPERIMENT=$EXPERIMENT: use letters, digits, dots, dashes and underscores"
    [[ "${GPU_GIB:-80}" =~ ^[0-9]+(\.[0-9]+)?$ ]] || refuse "GPU_GIB=$GPU_GIB: use the memory of one GPU in GiB, for example 80"
    if [[ -n "${PYTHON:-}" ]] && ! dry; then
        command -v "$PYTHON" >/dev/null 2>&1 || refuse "PYTHON=$PYTHON: no such command; give a Python 3.10, 3.11 or 3.12"
    fi
    for name in RUN_DIR DATA_DIR SHOP; do
        if [[ -e "${!name:-/}" && ! -d "${!name:-/}" ]]; then
            refuse "$name=${!name}: is a file; name a folder"
        fi
    done
}

# rerun_command SCRIPT ARGUMENTS...: the knobs that are set and the command, as they were given.
rerun_command() {
    local name set=()
    for name in "${KNOBS[@]}" "${WEBSHOP_KNOBS[@]}" "${ALFWORLD_KNOBS[@]}"; do
        case "$name=${!name:-}" in
        "$name=" | DRY_RUN=* | "VENV=$REPO_ROOT/.venv") ;;
        *) set+=("$name=${!name}") ;;
        esac
    done
    quoted "${set[@]}" bash "$@"
}
