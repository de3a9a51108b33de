# SPDX-License-Identifier: Apache-2.0
"""The line of a training step."""

from siri_verl.runs.progress import LastValidation, step_line, validation_text

FULL = {
    "siri/phase": 1.0,
    "siri/success": 0.6,
    "siri/success_plain_arm": 0.53,
    "siri/success_skill_arm": 0.72,
    "siri/bank/active": 3.0,
    "siri/bank/candidate": 9.0,
}


def test_a_step_of_siri_has_phase_arms_validation_skills_and_time():
    line = step_line(7, 100, FULL, LastValidation(5, "0.224 (0.171 to 0.288)"), 2580.0)
    assert line == (
        "step   7/100 | mining | success 0.53 plain, 0.72 with skill | validation 0.224 (0.171 to 0.288) at step 5 | "
        "skills 3 active, 9 candidates | 43 min left"
    )


def test_what_a_run_does_not_log_is_left_out():
    assert step_line(7, None, {}, None, None) == "step 7"
    assert step_line(7, 8, {"critic/score/mean": 5.94}, None, None) == "step 7/8 | score 5.94"
    warm_up = {"siri/phase": 0.0, "siri/success": 0.25}
    assert step_line(7, 8, warm_up, None, None) == "step 7/8 | warm-up | success 0.25"


def test_a_validation_has_its_interval_or_verls_own_metric():
    interval = {"siri/val/success": 0.5, "siri/val/success_low": 0.4, "siri/val/success_high": 0.6}
    assert validation_text(interval | {"val-core/webshop/acc/mean@1": 0.1}) == "0.500 (0.400 to 0.600)"
    assert validation_text({"val-core/gsm8k/acc/mean@1": 0.31, "val-aux/x": 1.0}) == "0.310"
    several = {"val-core/gsm8k/acc/mean@16": 0.172, "val-core/gsm8k/acc/best@16/mean": 0.915}
    assert validation_text(several) == "0.172", "as in the curve"
    assert validation_text(several | {"val-core/math/acc/mean@16": 0.372}) == "0.272"
    assert validation_text({"val-core/gsm8k/acc/best@16/mean": 0.915}) is None
    assert validation_text({"siri/success": 0.5}) is None
