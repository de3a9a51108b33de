#!/usr/bin/env bash
# SIRI on WebShop through unmodified verl. Sets itself up, picks the CPU or the GPU preset, trains, and ends with the
# learning curve, the story of the skill bank in words and pictures, and its skills tested again on fresh tasks.
#
#   bash recipes/siri_webshop.sh                                   everything by itself
#   bash recipes/siri_webshop.sh trainer.total_training_steps=5    any override of verl or siri_verl comes last
#   MODEL=3b GPUS=4 ENGINE=fsdp2 ROLLOUT=vllm bash recipes/siri_webshop.sh    on GPUs; knobs: recipes/README.md
#   WEBSHOP_STORE=DIR SPLIT=by_product bash recipes/siri_webshop.sh   a store made by `siri-verl data webshop`
#   DRY_RUN=1 bash recipes/siri_webshop.sh                         print the training command
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/gpu.sh"

PRESET=${PRESET:-auto}
SEED=${SEED:-1}
EXPERIMENT=${EXPERIMENT:-siri_webshop}
DATA_DIR=${DATA_DIR:-$REPO_ROOT/data}
RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/$EXPERIMENT}
WEBSHOP_STORE=${WEBSHOP_STORE:-}
PRESET_OVERRIDES=()
PRESET_REASON="PRESET=$PRESET"
PAIRS=${PAIRS:-64} # pairs per skill in the re-test; 0 leaves it out

if [[ "$PRESET" == auto ]]; then
    if has_gpu; then PRESET=gpu; else PRESET=cpu PRESET_REASON="no GPU was found"; fi
    echo "preset: $PRESET (found by looking for GPUs; PRESET=cpu or PRESET=gpu decides otherwise)"
fi

case "$PRESET" in
cpu)
    no_gpu_knobs
    install ""
    export OMP_NUM_THREADS=1
    GROUPS_=(webshop cpu cpu_small)
    SHOP=${SHOP:-$DATA_DIR/webshop_demo}
    if missing "$SHOP/panels.json"; then
        echo "making the demo shop in $SHOP"
        siri-verl data webshop-demo --out "$SHOP"
    fi
    MODEL_PATH=${MODEL_PATH:-$DATA_DIR/webshop_demo_model/model}
    if missing "$MODEL_PATH/config.json"; then
        echo "warm-starting a small model with verl's SFT trainer (acting, following a skill, describing a procedure)"
        "$PYTHON_BIN" -m siri_verl.data.webshop_demo.warm_start --out "$(dirname "$MODEL_PATH")"
    fi
    if [[ -z "$WEBSHOP_STORE" ]]; then
        GROUPS_+=(webshop_demo)
        RETEST_SPLIT=${RETEST_SPLIT:-demo/test}
    else
        # Real titles are long, and the small model has room for 1024 tokens.
        PRESET_OVERRIDES=(+siri.environment.kwargs.text=compact data.max_prompt_length=960)
    fi
    STORE=${WEBSHOP_STORE:-$SHOP/store}
    SPLIT=${SPLIT:-demo}
    VAL_SIZE=${VAL_SIZE:-192}
    DEVICE=cpu
    ;;
gpu)
    gpu_groups
    install "$GPU_EXTRA"
    need_megatron
    GROUPS_=(webshop "${SIZE_GROUPS[@]}")
    PRESET_OVERRIDES=("${GPU_OVERRIDES[@]}")
    STORE=${WEBSHOP_STORE:-$DATA_DIR/webshop}
    if missing "$STORE"; then
        echo "downloading WebShop's official files and preparing them in $STORE"
        siri-verl data webshop --download --size "${WEBSHOP_SIZE:-small}" --goals synthetic --out "$STORE"
    fi
    SPLIT=${SPLIT:-verl_agent}
    VAL_SIZE=${VAL_SIZE:-128}
    DEVICE=cuda
    ;;
*)
    echo "PRESET=$PRESET: use cpu, gpu or auto" >&2
    exit 1
    ;;
esac
RETEST_SPLIT=${RETEST_SPLIT:-$SPLIT/validation}

# panel SPLIT FILE [OPTIONS]: write the tasks of a split.
panel() {
    siri-verl data panel webshop --set "store=\"$STORE\"" --split "$1" --out "$2" "${@:3}"
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
POLICY=(
    actor_rollout_ref.model.path="$MODEL_PATH"
)
TRAINER=(
    siri.seed="$SEED"
    trainer.experiment_name="$EXPERIMENT"
    trainer.default_local_dir="$RUN_DIR"
)

echo "preset $PRESET, model $MODEL_PATH, store $STORE, split $SPLIT, run folder $RUN_DIR"
SIRI_GROUPS=$(IFS=,; echo "${GROUPS_[*]}")
OVERRIDES=("+siri=[$SIRI_GROUPS]" "${DATA[@]}" "${POLICY[@]}" "${TRAINER[@]}" "${PRESET_OVERRIDES[@]}" "$@")
if [[ "$PRESET" == gpu ]]; then
    show_plan "${OVERRIDES[@]}"
fi
train "$PYTHON_BIN" -m verl.trainer.main_ppo "${OVERRIDES[@]}"

siri-verl curve "$RUN_DIR"
siri-verl story "$RUN_DIR"
if ((PAIRS > 0)); then
    panel "$RETEST_SPLIT" "$RUN_DIR/retest.parquet"
    retest=(siri-verl skills retest "$RUN_DIR" --panel "$RUN_DIR/retest.parquet" --pairs "$PAIRS" --ever-active --device "$DEVICE")
    "${retest[@]}"
    # The trained policy may have taken its skills up and gain nothing from them any more; the one it began as has not.
    if [[ -d "$MODEL_PATH" ]]; then
        "${retest[@]}" --model "$MODEL_PATH" --out "$RUN_DIR/retest_start.json"
    fi
fi
