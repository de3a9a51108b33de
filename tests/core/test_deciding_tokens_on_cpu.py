# SPDX-License-Identifier: Apache-2.0
"""Deciding tokens: learned tokens that the skill prompt makes at least twice as probable."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.core.deciding_tokens import deciding_metrics


def test_tokens_known_to_both_prompts_do_not_hide_the_one_that_the_skill_decides():
    plain = [-0.01, -0.01, -3.0, -0.01]
    got = deciding_metrics(plain, [-0.01, -0.01, -0.1, -0.01])
    assert got == {
        "deciding_tokens": 1.0,
        "deciding_share": 0.25,
        "deciding_plain_log_prob_mean": -3.0,
        "deciding_skill_log_prob_mean": -0.1,
    }


def test_without_deciding_tokens_means_are_undefined():
    for plain in ([-0.5, -1.0], []):
        got = deciding_metrics(plain, plain)
        assert got["deciding_tokens"] == got["deciding_share"] == 0
        assert math.isnan(got["deciding_plain_log_prob_mean"]) and math.isnan(got["deciding_skill_log_prob_mean"])
    with pytest.raises(ValueError, match=r"plain has shape \(1,\), skill has \(2,\)"):
        deciding_metrics([-1.0], [-1.0, -1.0])


pairs = st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0)), min_size=1, max_size=30)


@given(pairs)
def test_the_count_is_of_tokens_whose_probability_doubles(tokens):
    plain, skill = np.array(tokens).T
    got = deciding_metrics(plain, skill)
    doubled = [(p, s) for p, s in tokens if s - p > math.log(2)]
    assert got["deciding_tokens"] == len(doubled) and got["deciding_share"] == pytest.approx(len(doubled) / len(tokens))
    if doubled:
        assert got["deciding_skill_log_prob_mean"] - got["deciding_plain_log_prob_mean"] > math.log(2) - 1e-9
