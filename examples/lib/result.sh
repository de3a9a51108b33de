# SPDX-License-Identifier: Apache-2.0

# Sourced by the examples after setup.sh.

# show_result: draws the learning curve of RUN_DIR, writes its report and prints how the run ended.
show_result() {
    stage "drawing the learning curve" "${SIRI[@]}" curve "$RUN_DIR"
    stage "writing the report" "${SIRI[@]}" report "$RUN_DIR"
    act "${SIRI[@]}" summary "$RUN_DIR"
}
