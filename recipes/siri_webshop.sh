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
#   DRY_RUN=1 bash recipes/siri_webshop.sh                         print the training command
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/gpu.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/siri.sh"

begin_run webshop
WEBSHOP_STORE=${WEBSHOP_STORE:-}
WEBSHOP_SIZE=${WEBSHOP_SIZE:-small}

if [[ -n "$WEBSHOP_STORE" ]] && missing "$WEBSHOP_STORE"; then
    refuse "WEBSHOP_STORE=$WEBSHOP_STORE: no such folder; \`siri-verl data webshop\` makes a store"
fi

# known_split: refuses a split that the given store lacks, before anything is installed or made.
known_split() {
    local file known=""
    [[ -n "$WEBSHOP_STORE" && -d "$WEBSHOP_STORE" && ! -f "$WEBSHOP_STORE/splits/$SPLIT.json" ]] || return 0
    for file in "$WEBSHOP_STORE"/splits/*.json; do
        [[ ! -f "$file" ]] || known+="${known:+, }$(basename "$file" .json)"
    done
    refuse "SPLIT=$SPLIT: the store $WEBSHOP_STORE has ${known:-no splits; \`siri-verl data webshop\` makes a store}"
}

case "$PRESET" in
cpu)
    no_gpu_knobs
    # Only the demo shop has the split `demo`.
    SPLIT=${SPLIT:-$([[ -n "$WEBSHOP_STORE" ]] && echo by_product || echo demo)}
    known_split
    install ""
    export OMP_NUM_THREADS=1
    GROUPS_=(webshop cpu cpu_small)
    SHOP=${SHOP:-$DATA_DIR/webshop_demo}
    if missing "$SHOP/panels.json"; then
        echo "making the demo shop in $SHOP"
        siri-verl data webshop-demo --out "$SHOP"
    fi
    small_model webshop "$DATA_DIR/webshop_demo_model"
    if [[ -z "$WEBSHOP_STORE" ]]; then
        GROUPS_+=(webshop_demo)
        RETEST_SPLIT=${RETEST_SPLIT:-demo/test}
    else
        # Real titles are long, and the small model has room for 1024 tokens.
        PRESET_OVERRIDES=(+siri.environment.kwargs.text=compact data.max_prompt_length=960)
    fi
    STORE=${WEBSHOP_STORE:-$SHOP/store}
    VAL_SIZE=${VAL_SIZE:-192}
    DEVICE=cpu
    ;;
gpu)
    gpu_groups
    case "$WEBSHOP_SIZE" in
    small) DATA_EXTRA="" STORE=$DATA_DIR/webshop ;;
    full) DATA_EXTRA=,drive STORE=$DATA_DIR/webshop_full ;;
    *) refuse "WEBSHOP_SIZE=$WEBSHOP_SIZE: use small (1,000 products) or full (1.18 million)" ;;
    esac
    SPLIT=${SPLIT:-verl_agent}
    known_split
    install "$GPU_EXTRA$DATA_EXTRA"
    need_megatron
    GROUPS_=(webshop "${SIZE_GROUPS[@]}")
    PRESET_OVERRIDES=("${GPU_OVERRIDES[@]}")
    STORE=${WEBSHOP_STORE:-$STORE}
    if missing "$STORE"; then
        echo "downloading WebShop's official files and preparing them in $STORE"
        siri-verl data webshop --download --size "$WEBSHOP_SIZE" --goals synthetic --out "$STORE"
    fi
    VAL_SIZE=${VAL_SIZE:-128}
    DEVICE=cuda
    ;;
esac
RETEST_SPLIT=${RETEST_SPLIT:-$SPLIT/validation}

# panel SPLIT FILE [OPTIONS]: write the tasks of a split.
panel() {
    siri-verl data panel webshop --set "store=\"$STORE\"" --split "$1" --overwrite --out "$2" "${@:3}"
}

TRAIN_FILE=$RUN_DIR/train.parquet
VAL_FILE=$RUN_DIR/validation.parquet
if [[ "${DRY_RUN:-0}" != 1 ]]; then
    mkdir -p "$RUN_DIR"
    panel "$SPLIT/train" "$TRAIN_FILE"
    panel "$SPLIT/validation" "$VAL_FILE" --size "$VAL_SIZE"
fi

DATA=(
    data.train_files="$TRAIN_FILE"
    data.val_files="$VAL_FILE"
    siri.environment.kwargs.store="$STORE"
)
echo "preset $PRESET, model $MODEL_PATH, store $STORE, split $SPLIT, run folder $RUN_DIR"
train_and_report "$@"
