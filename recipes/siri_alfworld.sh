#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# SIRI on ALFWorld through unmodified verl. Sets itself up, picks the CPU or the GPU preset, trains, validates by task type
# in seen and unseen rooms, and ends with the learning curve, the story of the skill bank and its skills tested again.
#
#   bash recipes/siri_alfworld.sh                                  everything by itself
#   bash recipes/siri_alfworld.sh trainer.total_training_steps=5   any override of verl or siri_verl comes last
#   MODEL=3b GPUS=4 ENGINE=fsdp2 ROLLOUT=vllm bash recipes/siri_alfworld.sh   on GPUs; knobs: recipes/README.md
#   METHOD=gigpo bash recipes/siri_alfworld.sh                     another method (docs/configuration.md lists them)
#   ALFWORLD_GAMES=DIR bash recipes/siri_alfworld.sh               games made by `siri-verl data alfworld[-demo]`
#   VERBOSE=1 bash recipes/siri_alfworld.sh                        all output on the screen; else in RUN_DIR/run.log
#   DRY_RUN=1 bash recipes/siri_alfworld.sh                        print all commands
#
# The CPU preset is small on purpose: generated games in small rooms, at most 12 turns, 4 tasks x 4 sessions an iteration.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/knobs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/gpu.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib/siri.sh"

begin_run alfworld "$@"
RETEST_SPLIT=${RETEST_SPLIT:-valid_seen}
case "$RETEST_SPLIT" in
valid_seen | valid_unseen) ;;
*) refuse "RETEST_SPLIT=$RETEST_SPLIT: use valid_seen or valid_unseen" ;;
esac
VAL_OPTIONS=()
if [[ -n "${ALFWORLD_GAMES:-}" ]] && missing "$ALFWORLD_GAMES"; then
    refuse "ALFWORLD_GAMES=$ALFWORLD_GAMES: no such folder; \`siri-verl data alfworld\` or \`alfworld-demo\` makes one"
fi

case "$PRESET" in
cpu)
    no_gpu_knobs
    [[ "${MODEL:-}" != smollm2 ]] || smollm2
    install "alfworld${MODEL_EXTRA:+,$MODEL_EXTRA}"
    setting OMP_NUM_THREADS=1
    GROUPS_=(alfworld cpu cpu_small alfworld_demo)
    GAMES=${ALFWORLD_GAMES:-$DATA_DIR/alfworld_demo}
    if [[ -z "${ALFWORLD_GAMES:-}" && ! -e "$GAMES" ]]; then
        stage "making games" "${SIRI[@]}" data alfworld-demo --rooms small --out "$GAMES"
    fi
    small_model alfworld
    # A prompt shows all earlier turns, as in the warm start (siri_verl/demos/alfworld/settings.py).
    [[ "${MODEL:-}" != smollm2 ]] ||
        PRESET_OVERRIDES+=(
            siri.prompt.history_length=12 siri.rollout.max_turns=12 data.max_prompt_length=1664
            actor_rollout_ref.actor.ppo_max_token_len_per_gpu=2048
        )
    DEVICE=cpu
    ;;
gpu)
    gpu_groups
    install "$GPU_EXTRA,alfworld${MODEL_EXTRA:+,$MODEL_EXTRA}"
    need_megatron
    prepare_model
    GROUPS_=(alfworld "${SIZE_GROUPS[@]}")
    PRESET_OVERRIDES=("${GPU_OVERRIDES[@]}")
    GAMES=${ALFWORLD_GAMES:-$DATA_DIR/alfworld}
    if [[ -z "${ALFWORLD_GAMES:-}" && ! -e "$GAMES/.tw-pddl.unpacked" ]]; then
        stage "downloading ALFWorld's official games" "${SIRI[@]}" data alfworld --download --out "$GAMES"
    fi
    DEVICE=cuda
    ;;
esac

panel() {
    stage "choosing tasks of $1" "${SIRI[@]}" data panel alfworld --set "data=\"$GAMES\"" --split "$1" --overwrite --out "$2" "${@:3}"
}

# Every game of both validation splits, or VAL_SIZE drawn from each.
if [[ -n "${VAL_SIZE:-}" ]]; then
    VAL_OPTIONS=(--size "$VAL_SIZE")
fi
note "preset $PRESET, model $MODEL_PATH, games $GAMES, run folder $RUN_DIR, log $LOG"
act mkdir -p "$RUN_DIR"
panel train "$RUN_DIR/train.parquet"
panel valid_seen "$RUN_DIR/valid_seen.parquet" "${VAL_OPTIONS[@]}"
panel valid_unseen "$RUN_DIR/valid_unseen.parquet" "${VAL_OPTIONS[@]}"

DATA=(
    data.train_files="$RUN_DIR/train.parquet"
    data.val_files="[$RUN_DIR/valid_seen.parquet,$RUN_DIR/valid_unseen.parquet]"
    siri.environment.kwargs.data="$GAMES"
)

train_and_report "$@"
