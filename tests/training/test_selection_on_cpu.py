# SPDX-License-Identifier: Apache-2.0
"""Internalization rows are divided evenly among optimizer steps."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.training.selection import deal_rows


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 6))
def test_rows_are_dealt_evenly(tokens, parts):
    part = deal_rows(tokens, parts)
    held = np.bincount(part, minlength=parts)
    assert len(part) == len(tokens) and held.max(initial=0) - held.min(initial=99) <= 1
    load = np.bincount(part, weights=tokens, minlength=parts)
    assert load.max() - load.min() <= max(tokens, default=0)
