# SPDX-License-Identifier: Apache-2.0
"""Price limits and splits, as properties."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.envs.webshop.goals import NO_LIMIT, draw_limit, price_suffix
from siri_verl.envs.webshop.product import DataError
from siri_verl.envs.webshop.splits import PARTS, Split, SplitError, make_split, product_of


@given(st.floats(0, 1100), st.integers())
def test_limits_are_the_larger_of_two_of_the_first_four_tens_above_the_price(price, seed):
    limit = draw_limit(price, random.Random(seed))
    candidates = [ten for ten in range(10, 1000, 10) if ten > price][:4]
    if len(candidates) < 2:
        assert limit == NO_LIMIT and price_suffix(limit) == ""
    else:
        assert limit in candidates[1:]  # the larger of two different ones is never the smallest
        assert price_suffix(limit) == f", and price lower than {limit:.2f} dollars"


def test_the_largest_candidate_wins_half_of_the_draws():
    draws = [draw_limit(5.0, random.Random(seed)) for seed in range(3000)]
    shares = {limit: draws.count(limit) / len(draws) for limit in (20.0, 30.0, 40.0)}
    # of the six pairs one has 20 as its larger, two have 30, three have 40
    assert shares == pytest.approx({20.0: 1 / 6, 30.0: 2 / 6, 40.0: 3 / 6}, abs=0.04)


def goal_ids(n_products, per_product):
    return [f"B{product:04d}-s{number:04d}" for product in range(n_products) for number in range(per_product)]


def assert_partition(split, ids):
    parts = [getattr(split, part) for part in PARTS]
    assert sorted(sum(parts, [])) == sorted(ids)
    assert not set(parts[0]) & set(parts[1])
    assert not set(parts[0]) & set(parts[2])
    assert not set(parts[1]) & set(parts[2])


@settings(max_examples=40, deadline=None)
@given(n_products=st.integers(3, 60), per_product=st.integers(1, 40), seed=st.integers(0, 5), shuffle=st.randoms())
def test_by_product_keeps_each_product_on_one_side(n_products, per_product, seed, shuffle):
    ids = goal_ids(n_products, per_product)
    split = make_split("by_product", ids, seed=seed)
    assert_partition(split, ids)
    sides = [{product_of(goal_id) for goal_id in getattr(split, part)} for part in PARTS]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    shuffle.shuffle(ids)
    assert make_split("by_product", ids, seed=seed) == split


@pytest.mark.parametrize(("name", "sizes"), [("official", (500, 1000, 500)), ("verl_agent", (1500, 500, 0))])
def test_published_cuts(name, sizes):
    ids = goal_ids(200, 10)
    split = make_split(name, ids, seed=1)
    assert_partition(split, ids)
    assert tuple(len(getattr(split, part)) for part in PARTS) == sizes
    assert make_split(name, ids[::-1], seed=1) == split != make_split(name, ids, seed=2)
    with pytest.raises(SplitError, match="needs more than"):
        make_split(name, ids[:500], seed=1)


def test_split_files_round_trip_and_refuse_overlap(tmp_path):
    split = make_split("by_product", goal_ids(10, 3), seed=0)
    split.write(tmp_path)
    assert Split.read(tmp_path / "by_product.json") == split
    with pytest.raises(SplitError, match="goal a-1 is in train and in validation"):
        Split("mine", ["a-1"], ["a-1"], []).write(tmp_path)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(DataError, match=r"bad\.json: not a split file"):
        Split.read(tmp_path / "bad.json")


def test_parts_by_name():
    split = Split("mine", ["a-1"], ["b-1"], [])
    assert split.part("train") == ["a-1"]
    with pytest.raises(SplitError, match="'test' of split 'mine' is empty; it has train, validation"):
        split.part("test")
    with pytest.raises(SplitError, match="'dev'.*known parts"):
        split.part("dev")
