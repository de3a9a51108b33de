# SPDX-License-Identifier: Apache-2.0
"""Which task types explore, and how long updates are damped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.core.discovery import explores, exploring_sessions, untested

NAMES = st.sets(st.sampled_from("abcdef"))


@given(st.integers(1, 99), st.integers(1, 99), st.integers(1, 20), st.booleans())
def test_a_type_explores_once_it_had_no_success_for_its_patience_and_has_no_skill(step, since, patience, has_skill):
    found = explores(step, since, patience, has_skill)
    assert found == (not has_skill and since + patience <= step)
    assert not explores(since, since, patience, has_skill), "a type that was just met or solved does not"


@given(st.integers(1, 64), st.floats(0.01, 1))
def test_at_least_one_session_and_at_most_the_group_is_explored(size, share):
    sessions = exploring_sessions(size, share)
    assert 1 <= sessions <= size and abs(sessions - max(1, size * share)) <= 0.5 + 1e-9


@pytest.mark.parametrize("share, sessions", [(0.5, 4), (0.25, 2), (0.05, 1), (1.0, 8)])
def test_shares_of_eight(share, sessions):
    assert exploring_sessions(8, share) == sessions


@given(NAMES, NAMES)
def test_untested_types_had_a_success_and_no_decision(solved, decided):
    left = untested(solved, decided)
    assert left <= solved and not left & decided and solved <= left | decided
