# SPDX-License-Identifier: Apache-2.0
"""Chains of tasks of one type."""

from hypothesis import given
from hypothesis import strategies as st

from siri_verl.core.chains import chain_order

TYPES = st.lists(st.sampled_from("abc"), max_size=60)


@given(TYPES, st.integers(1, 5), st.integers(1, 4), st.integers(0, 9))
def test_links_stand_at_one_place_of_consecutive_batches(types, batch, length, seed):
    order = chain_order(types, batch, length, seed)
    assert sorted(order) == list(range(len(types))), "every task once"
    assert order == chain_order(types, batch, length, seed)
    chains = sum(types.count(kind) // length for kind in set(types))
    for first in range(chains // batch):
        rounds = [order[(first * length + link) * batch :][:batch] for link in range(length)]
        for place in range(batch):
            assert len({types[members[place]] for members in rounds}) == 1


def test_chains_mix_types_and_differ_between_seeds():
    types = list("ab") * 40
    first = [types[i] for i in chain_order(types, 8, 2, 1)[:8]]
    assert set(first) == {"a", "b"}
    assert chain_order(types, 8, 2, 1) != chain_order(types, 8, 2, 2)
