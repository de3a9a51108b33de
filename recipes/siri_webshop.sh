#!/usr/bin/env bash
# SIRI on WebShop through unmodified verl. Sets itself up, picks the CPU or the GPU preset, trains, draws the curve.
#
#   bash recipes/siri_webshop.sh                                   everything by itself
#   bash recipes/siri_webshop.sh trainer.total_training_steps=5    any override of verl or siri_verl comes last
#   PRESET=gpu MODEL_PATH=... bash recipes/siri_webshop.sh
#   WEBSHOP_STORE=DIR SPLIT=by_product bash recipes/siri_webshop.sh   a store made by `siri-verl data webshop`
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"

PRESET=${PRESET:-auto}
SEED=${SEED:-1}
EXPERIMENT=${EXPERIMENT:-siri_webshop}
DATA_DIR=${DATA_DIR:-$REPO_ROOT/data}
RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/$EXPERIMENT}
WEBSHOP_STORE=${WEBSHOP_STORE:-}

if [[ "$PRESET" == auto ]]; then
    if has_gpu; then PRESET=gpu; else PRESET=cpu; fi
    echo "preset: $PRESET (found by looking for GPUs; PRESET=cpu or PRESET=gpu decides otherwise)"
fi

case "$PRESET" in
cpu)
    install ""
    export OMP_NUM_THREADS=1
    GROUPS_=(webshop cpu cpu_small)
    SHOP=${SHOP:-$DATA_DIR/webshop_demo}
    if [[ ! -f "$SHOP/panels.json" ]]; then
        echo "making the demo shop in $SHOP"
        siri-verl data webshop-demo --out "$SHOP"
    fi
    MODEL_PATH=${MODEL_PATH:-$DATA_DIR/webshop_demo_model/model}
    if [[ ! -f "$MODEL_PATH/config.json" ]]; then
        echo "warm-starting a small model with verl's SFT trainer (acting, following a skill, describing a procedure)"
        "$PYTHON_BIN" -m siri_verl.data.webshop_demo.warm_start --catalogue "$SHOP" --out "$(dirname "$MODEL_PATH")"
    fi
    STORE=${WEBSHOP_STORE:-$SHOP/store}
    SPLIT=${SPLIT:-demo}
    VAL_SIZE=${VAL_SIZE:-192}
    ;;
gpu)
    install gpu
    GROUPS_=(webshop gpu)
    STORE=${WEBSHOP_STORE:-$DATA_DIR/webshop}
    if [[ ! -d "$STORE" ]]; then
        echo "downloading WebShop's official files and preparing them in $STORE"
        siri-verl data webshop --download --size "${WEBSHOP_SIZE:-small}" --goals synthetic --out "$STORE"
    fi
    MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-7B-Instruct}
    SPLIT=${SPLIT:-verl_agent}
    VAL_SIZE=${VAL_SIZE:-128}
    ;;
*)
    echo "PRESET=$PRESET: use cpu, gpu or auto" >&2
    exit 1
    ;;
esac

mkdir -p "$RUN_DIR"
TRAIN_FILE=$RUN_DIR/train.parquet
VAL_FILE=$RUN_DIR/validation.parquet
siri-verl data panel webshop --set "store=\"$STORE\"" --split "$SPLIT/train" --out "$TRAIN_FILE"
siri-verl data panel webshop --set "store=\"$STORE\"" --split "$SPLIT/validation" --size "$VAL_SIZE" --out "$VAL_FILE"

DATA=(
    data.train_files="$TRAIN_FILE"
    data.val_files="$VAL_FILE"
    siri.environment.kwargs.store="$STORE"
)
MODEL=(
    actor_rollout_ref.model.path="$MODEL_PATH"
)
TRAINER=(
    siri.seed="$SEED"
    trainer.experiment_name="$EXPERIMENT"
    trainer.default_local_dir="$RUN_DIR"
)

echo "preset $PRESET, model $MODEL_PATH, store $STORE, split $SPLIT, run folder $RUN_DIR"
SIRI_GROUPS=$(IFS=,; echo "${GROUPS_[*]}")
set -x
"$PYTHON_BIN" -m verl.trainer.main_ppo "+siri=[$SIRI_GROUPS]" "${DATA[@]}" "${MODEL[@]}" "${TRAINER[@]}" "$@"
{ set +x; } 2>/dev/null

siri-verl curve "$RUN_DIR"
