# SPDX-License-Identifier: Apache-2.0

# Sourced by the recipes after setup.sh: from the knobs of a GPU run to configuration groups.
# Knobs: MODEL=1.5b|3b|7b|qwen3_0.6b|qwen3_1.7b|qwen3_4b|smollm2 (settings; MODEL_PATH: weights), GPUS=1|2|4|8 per node (default: as many as are found),
# ENGINE=fsdp2|megatron, ROLLOUT=vllm|sglang, LORA=RANK, NNODES, RAY_ADDRESS, GPU_GIB (default: as found, else 80), PLAN=0.

GPU_KNOBS=(MODEL GPUS ENGINE ROLLOUT LORA NNODES PLAN GPU_GIB WEBSHOP_SIZE)

# no_gpu_knobs: a run on the CPU must not be asked for what only GPUs do.
no_gpu_knobs() {
    local name
    for name in "${GPU_KNOBS[@]}"; do
        if [[ -n "${!name:-}" && "$name=${!name}" != NNODES=1 && "$name=${!name}" != MODEL=smollm2 ]]; then
            refuse "$name=${!name}: a knob of PRESET=gpu; this run is on the CPU ($PRESET_REASON)"
        fi
    done
}

found_gpus() {
    has_gpu && nvidia-smi -L | grep -c '^GPU'
}

# gpu_groups: sets SIZE_GROUPS, GPU_OVERRIDES, GPU_EXTRA, MODEL_PATH, GPU_GIB.
gpu_groups() {
    MODEL=${MODEL:-7b}
    GPUS=${GPUS:-$(found_gpus || echo 8)}
    ENGINE=${ENGINE:-fsdp2}
    ROLLOUT=${ROLLOUT:-vllm}
    LORA=${LORA:-0}
    NNODES=${NNODES:-1}
    GPU_GIB=${GPU_GIB:-$(has_gpu && nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits | awk 'NR == 1 {printf "%.1f", $1 / 1024}' || echo 80)}
    GPU_OVERRIDES=()

    case "$MODEL" in
    1.5b | 3b | 7b) MODEL_GROUP=qwen_$MODEL MODEL_PATH=${MODEL_PATH:-Qwen/Qwen2.5-${MODEL%b}B-Instruct} ;;
    qwen3_0.6b | qwen3_1.7b | qwen3_4b)
        MODEL_GROUP=$MODEL
        MODEL=${MODEL#qwen3_}
        MODEL_PATH=${MODEL_PATH:-Qwen/Qwen3-${MODEL%b}B}
        ;;
    smollm2)
        MODEL_GROUP=smollm2
        smollm2
        ;;
    *) refuse "MODEL=$MODEL: use 1.5b, 3b or 7b (Qwen2.5), qwen3_0.6b, qwen3_1.7b or qwen3_4b, or smollm2, the one nearest to your model in size; MODEL_PATH names its weights" ;;
    esac
    case "$GPUS" in
    1 | 2 | 4 | 8) ;;
    *) refuse "GPUS=$GPUS: there are settings for 1, 2, 4 and 8 per node; use the next lower number" ;;
    esac
    case "$ENGINE" in
    fsdp2) SIZE_GROUPS=(gpu) ;;
    megatron) SIZE_GROUPS=(gpu_megatron) ;;
    *) refuse "ENGINE=$ENGINE: use fsdp2 or megatron" ;;
    esac
    SIZE_GROUPS+=("$MODEL_GROUP" "gpus_$GPUS")
    case "$ROLLOUT" in
    vllm) GPU_EXTRA=gpu ;;
    sglang)
        GPU_EXTRA=gpu-sglang
        SIZE_GROUPS+=(sglang)
        ;;
    *) refuse "ROLLOUT=$ROLLOUT: use vllm or sglang" ;;
    esac
    [[ "$LORA" =~ ^[0-9]+$ ]] || refuse "LORA=$LORA: use a rank, for example LORA=64; 0 trains all parameters"
    [[ "$NNODES" =~ ^[1-9][0-9]*$ ]] || refuse "NNODES=$NNODES: use a number of nodes"

    if ((LORA > 0)); then
        # verl's Megatron checkpoint then has the adapters alone, in actor/model/huggingface/adapter.
        [[ "$ENGINE" != megatron ]] ||
            refuse "ENGINE=megatron LORA=$LORA: its checkpoints hold no model that siri-verl eval, export and skills retest can read; use ENGINE=fsdp2 or LORA=0"
        SIZE_GROUPS+=(lora)
        GPU_OVERRIDES+=("actor_rollout_ref.model.lora_rank=$LORA" "actor_rollout_ref.model.lora_alpha=$LORA")
    elif [[ "$ENGINE" == fsdp2 ]] && few_gpus; then
        SIZE_GROUPS+=(offload)
    elif [[ "$ENGINE" == megatron && "$MODEL" == 7b ]] && few_gpus; then
        refuse "ENGINE=megatron MODEL=7b on $((GPUS * NNODES)) GPUs of 80 GB: weights, gradients and optimizer do not fit; use 4 GPUs or ENGINE=fsdp2, which keeps them in main memory"
    fi
    if ((NNODES > 1)); then
        [[ -n "${RAY_ADDRESS:-}" ]] ||
            refuse "NNODES=$NNODES: start Ray on every node and set RAY_ADDRESS to the head's address (recipes/multi_node.md)"
        GPU_OVERRIDES+=("trainer.nnodes=$NNODES")
    fi
    if [[ -n "${RAY_ADDRESS:-}" ]]; then
        GPU_OVERRIDES+=("+ray_kwargs.ray_init.address=\"$RAY_ADDRESS\"")
    fi
}

# few_gpus: whether the optimizer of full training needs more room than 80 GB each give (`siri-verl plan` has the sums).
few_gpus() {
    case "$MODEL" in
    3b | 4b) ((GPUS * NNODES < 2)) ;;
    7b) ((GPUS * NNODES < 4)) ;;
    *) false ;;
    esac
}

# need_megatron: verl's extras do not bring it.
need_megatron() {
    if [[ "$ENGINE" != megatron ]] || dry; then return; fi
    "$PYTHON_BIN" -c "import megatron.core, megatron.bridge" 2>/dev/null ||
        refuse "ENGINE=megatron: megatron-core and Megatron-Bridge are not installed in $("$PYTHON_BIN" -c 'import sys; print(sys.prefix)'); install them as verl's installation guide says, or run in verl's image, or use ENGINE=fsdp2"
}

# show_plan OVERRIDES...: the estimate of a training command, before it starts; ends here when it does not fit. A model
# that only its hub knows has no estimate (exit code 3) and starts without.
show_plan() {
    local code=0
    [[ "${PLAN:-1}" == 1 ]] || return 0
    act "${SIRI[@]}" plan --gpu-gib "$GPU_GIB" --out "$RUN_DIR/plan.json" -- "$@" || code=$?
    case "$code" in
    0) ;;
    3) echo "warning: MODEL_PATH=$MODEL_PATH: no plan of memory, for the model's sizes are not known; starting without" >&2 ;;
    *) refuse "the plan above says why this does not fit; PLAN=0 starts it nevertheless" ;;
    esac
}
