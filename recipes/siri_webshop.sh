#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# SIRI on WebShop through unmodified verl. Sets itself up, picks the CPU or the GPU preset, trains, and ends with the
# learning curve, the story of the skill bank in words and pictures, and its skills tested again on fresh tasks.
#
#   bash recipes/siri_webshop.sh                                   everything by itself
#   bash recipes/siri_webshop.sh trainer.total_training_steps=5    any override of verl or siri_verl comes last
#   MODEL=3b GPUS=4 ENGINE=fsdp2 ROLLOUT=vllm bash recipes/siri_webshop.sh    on GPUs; knobs: recipes/README.md
#   METHOD=no_gate bash recipes/siri_webshop.sh                    another method (docs/configuration.md lists them)
#   WEBSHOP_STORE=DIR bash recipes/siri_webshop.sh                 a store made by `siri-verl data webshop`
#   VERBOSE=1 bash recipes/siri_webshop.sh                         all output on the screen; else in RUN_DIR/run.log
#   DRY_RUN=1 bash recipes/siri_webshop.sh                         print all commands
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/knobs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/gpu.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/siri.sh"

begin_run webshop "$@"
WEBSHOP_STORE=${WEBSHOP_STORE:-}

if [[ -n "$WEBSHOP_STORE" ]] && missing "$WEBSHOP_STORE"; then
    refuse "WEBSHOP_STORE=$WEBSHOP_STORE: no such folder; \`siri-verl data webshop\` makes a store"
fi

# known_split NAME KNOB: refuses a split that the store lacks, before anything is installed or made.
known_split() {
    local file known="" store=${WEBSHOP_STORE:-$STORE}
    [[ -d "$store" && ! -f "$store/splits/$1.json" ]] || return 0
    for file in "$store"/splits/*.json; do
        [[ ! -f "$file" ]] || known+="${known:+, }$(basename "$file" .json)"
    done
    refuse "$2: the store $store has ${known:-no splits; \`siri-verl data webshop\` makes a store}"
}

# known_splits: SPLIT, and RETEST_SPLIT, which is a part of a split whose tasks are not trained on.
known_splits() {
    RETEST_SPLIT=${RETEST_SPLIT:-$SPLIT/validation}
    known_split "$SPLIT" "SPLIT=$SPLIT"
    case "$RETEST_SPLIT" in
    "$SPLIT/train") refuse "RETEST_SPLIT=$RETEST_SPLIT: these are the tasks of training; use $SPLIT/validation or $SPLIT/test" ;;
    */train | */validation | */test) known_split "${RETEST_SPLIT%/*}" "RETEST_SPLIT=$RETEST_SPLIT" ;;
    *) refuse "RETEST_SPLIT=$RETEST_SPLIT: use a split and a part, $SPLIT/validation or $SPLIT/test" ;;
    esac
}

case "$PRESET" in
cpu)
    no_gpu_knobs
    # Only the demo shop has the split `demo`.
    SPLIT=${SPLIT:-$([[ -n "$WEBSHOP_STORE" ]] && echo by_product || echo demo)}
    SHOP=${SHOP:-$DATA_DIR/webshop_demo}
    STORE=${WEBSHOP_STORE:-$SHOP/store}
    [[ -n "$WEBSHOP_STORE" ]] || RETEST_SPLIT=${RETEST_SPLIT:-demo/test}
    if [[ -z "$WEBSHOP_STORE" && "$SPLIT" != demo ]]; then
        refuse "SPLIT=$SPLIT: the demo shop has the split demo; WEBSHOP_STORE names a store of your own"
    fi
    if [[ -z "$WEBSHOP_STORE" && "$RETEST_SPLIT" != demo/* ]]; then
        refuse "RETEST_SPLIT=$RETEST_SPLIT: the demo shop has demo/validation and demo/test"
    fi
    known_splits
    [[ "${MODEL:-}" != smollm2 ]] || smollm2
    install "$MODEL_EXTRA"
    setting OMP_NUM_THREADS=1
    GROUPS_=(webshop cpu cpu_small)
    if [[ ! -e "$SHOP/panels.json" ]]; then
        stage "making the demo shop" "${SIRI[@]}" data webshop-demo --out "$SHOP"
    fi
    if [[ -z "$WEBSHOP_STORE" ]]; then
        GROUPS_+=(webshop_demo)
    else
        # Real titles are long, and the small model has room for 1024 tokens.
        PRESET_OVERRIDES=(+siri.environment.kwargs.text=compact data.max_prompt_length=960)
    fi
    small_model webshop
    VAL_SIZE=${VAL_SIZE:-192}
    DEVICE=cpu
    ;;
gpu)
    [[ -z "${SHOP:-}" ]] || refuse "SHOP=$SHOP: a knob of PRESET=cpu; WEBSHOP_STORE names a store"
    gpu_groups
    WEBSHOP_SIZE=${WEBSHOP_SIZE:-small}
    case "$WEBSHOP_SIZE" in
    small) DATA_EXTRA="" STORE=$DATA_DIR/webshop ;;
    full) DATA_EXTRA=,drive STORE=$DATA_DIR/webshop_full ;;
    *) refuse "WEBSHOP_SIZE=$WEBSHOP_SIZE: use small (1,000 products) or full (1.18 million)" ;;
    esac
    STORE=${WEBSHOP_STORE:-$STORE}
    SPLIT=${SPLIT:-verl_agent}
    known_splits
    install "$GPU_EXTRA$DATA_EXTRA${MODEL_EXTRA:+,$MODEL_EXTRA}"
    need_megatron
    prepare_model
    GROUPS_=(webshop "${SIZE_GROUPS[@]}")
    PRESET_OVERRIDES=("${GPU_OVERRIDES[@]}")
    if [[ -z "$WEBSHOP_STORE" && ! -e "$STORE" ]]; then
        stage "downloading WebShop's official files" "${SIRI[@]}" data webshop --download --size "$WEBSHOP_SIZE" --goals synthetic --out "$STORE"
    fi
    VAL_SIZE=${VAL_SIZE:-128}
    DEVICE=cuda
    ;;
esac

# panel SPLIT FILE [OPTIONS]: write the tasks of a split.
panel() {
    stage "choosing tasks of $1" "${SIRI[@]}" data panel webshop --set "store=\"$STORE\"" --split "$1" --overwrite --out "$2" "${@:3}"
}

note "preset $PRESET, model $MODEL_PATH, store $STORE, split $SPLIT, run folder $RUN_DIR, log $LOG"
TRAIN_FILE=$RUN_DIR/train.parquet
VAL_FILE=$RUN_DIR/validation.parquet
act mkdir -p "$RUN_DIR"
panel "$SPLIT/train" "$TRAIN_FILE" ${TRAIN_SIZE:+--size "$TRAIN_SIZE"}
panel "$SPLIT/validation" "$VAL_FILE" --size "$VAL_SIZE"

DATA=(
    data.train_files="$TRAIN_FILE"
    data.val_files="$VAL_FILE"
    siri.environment.kwargs.store="$STORE"
)
train_and_report "$@"
