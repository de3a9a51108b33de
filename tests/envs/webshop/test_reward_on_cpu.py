# SPDX-License-Identifier: Apache-2.0
"""Purchases score as in the original."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thefuzz import fuzz

from siri_verl.envs.webshop import Product, score_purchase
from siri_verl.envs.webshop.reward import (
    COLORS,
    count_attributes,
    count_options,
    normalize_color,
    similarity,
    solved_by_own_product,
)

GOAL = {
    "asin": "B01",
    "category": "fashion",
    "query": "shirts",
    "name": "Acme Cotton Shirt",
    "product_category": "Clothing › Men › Shirts",
    "attributes": ["machine wash", "slim fit"],
    "price_upper": 30.0,
    "goal_options": {"color": "navy blue", "size": "small"},
}
SHIRT = Product(
    asin="B01",
    title="Acme Cotton Shirt",
    description="Quick to dry",
    bullet_points=("Fits everyone",),
    price_tag="$20.0",
    price=20.0,
    options={"color": ["navy blue", "red"], "size": ["small", "large"]},
    attributes=["machine wash", "slim fit"],
    category="fashion",
    query="shirts",
    product_category="Clothing › Men › Shirts",
)
RIGHT = {"color": "navy blue", "size": "small"}


def test_the_wanted_purchase_is_a_success():
    score = score_purchase(GOAL, SHIRT, RIGHT, 20.0)
    assert score.total == 1.0 and score.success
    assert (score.attribute_share, score.option_share, score.price_ok) == (1.0, 1.0, True)
    assert (score.query_match, score.category_match, score.type_score) == (True, True, 1.0)


@pytest.mark.parametrize(
    ("goal", "product", "options", "price", "total"),
    [
        ({}, {}, {}, 20.0, 3 / 5),
        ({}, {}, {"size": "small"}, 20.0, 4 / 5),
        ({}, {}, RIGHT, 30.0, 1.0),
        ({}, {}, RIGHT, 30.01, 4 / 5),
        ({}, {"attributes": ["slim fit"]}, RIGHT, 20.0, 4 / 5),
        ({}, {"attributes": [], "description": "Machine Wash, slim fit"}, RIGHT, 20.0, 1.0),
        ({"goal_options": {}}, {}, {}, 20.0, 1.0),
        # no query, one shared level, no shared noun: not the type at all
        ({}, {"query": "x", "product_category": "Clothing", "title": "Oak Table"}, RIGHT, 20.0, 0.0),
        # the same title score of zero overrides an equal query
        ({}, {"title": "Oak Table"}, RIGHT, 20.0, 0.0),
        # nouns decide alone: 3 of 3
        ({}, {"query": "x", "product_category": "Toys"}, RIGHT, 20.0, 1.0),
        # 2 of 10 nouns is not above 0.2 and not below 0.1
        (
            {"name": "hat tie sock boot belt cap coat lamp acme cotton"},
            {"query": "x", "product_category": "T"},
            RIGHT,
            20.0,
            0.5,
        ),
        # 1 of 11
        ({"name": "hat tie sock boot belt cap coat lamp bag rug acme"}, {}, RIGHT, 20.0, 0.1),
        # a goal title without nouns counts as 0.2
        ({"name": "2 x 100"}, {}, RIGHT, 20.0, 1.0),
        ({"name": "2 x 100"}, {"query": "x", "product_category": "T"}, RIGHT, 20.0, 0.5),
    ],
)
def test_totals(goal, product, options, price, total):
    assert score_purchase(GOAL | goal, dataclasses.replace(SHIRT, **product), options, price).total == pytest.approx(
        total
    )


def test_human_goals_name_values_and_their_colours_are_normalised():
    human = GOAL | {"goal_options": ["light blue", "small"]}
    assert score_purchase(human, SHIRT, RIGHT, 20.0).option_share == 1.0
    assert score_purchase(human, SHIRT, {"color": "red", "size": "large"}, 20.0).option_share == 0.0


def test_synthetic_goals_are_matched_as_name_and_value():
    assert count_options({"color": "navy blue"}, ["light blue"]) == 1  # "blue" is a part of "('color', 'navy blue')"
    assert count_options(["light navy"], ["deep navy"]) == 0  # "light" against "deep navy" -> "navy"
    # what the original makes impossible stays impossible: "rectangular" is taken for "tan"
    assert count_options({"shape": "rectangular"}, ["rectangular"]) == 0
    assert count_options([("size", "small")], ["small"]) == 1


def test_attributes_match_fuzzily_or_in_the_text():
    wanted = ["long-lasting", "gluten free", "quick to dry"]
    assert count_attributes(wanted, dataclasses.replace(SHIRT, attributes=["long lasting"])) == 2


def test_an_attribute_that_stands_nowhere_in_the_products_text_counts():
    product = dataclasses.replace(SHIRT, attributes=["dry clean", "slim fit"])
    assert "dry clean" not in " ".join([product.title, product.description, *product.bullet_points]).lower()
    score = score_purchase(GOAL | {"attributes": ["dry clean", "slim fit"]}, product, RIGHT, 20.0)
    assert score.attribute_share == 1.0 and score.success


def test_a_pack_of_one_passes_for_a_pack_of_two_as_in_the_original():
    wanted, chosen = ["4 ounce (pack of 2)"], ["4 ounce (pack of 1)"]
    assert count_options(wanted, chosen) == original_count(wanted, chosen) == 1


def test_goal_and_product_may_be_mappings_or_objects():
    class Goal:
        pass

    goal = Goal()
    vars(goal).update(GOAL)
    assert score_purchase(goal, vars(SHIRT), RIGHT, 20.0) == score_purchase(GOAL, SHIRT, RIGHT, 20.0)


def test_stored_nouns_are_used_when_both_sides_have_them():
    goal, product = GOAL | {"nouns": ("a", "b", "c", "d")}, dataclasses.replace(SHIRT, nouns=("a",))
    score = score_purchase(goal, product, RIGHT, 20.0, type_backend="spacy")
    assert score.title_score == 0.25 and score.type_backend == "spacy"
    assert score_purchase(goal, SHIRT, RIGHT, 20.0).title_score == 1.0


def test_errors_name_the_field():
    with pytest.raises(KeyError, match="price_upper"):
        score_purchase({k: v for k, v in GOAL.items() if k != "price_upper"}, SHIRT, RIGHT, 20.0)
    with pytest.raises(ValueError, match="price=nan"):
        score_purchase(GOAL, SHIRT, RIGHT, float("nan"))
    with pytest.raises(ValueError, match="goal_options='red'"):
        score_purchase(GOAL | {"goal_options": "red"}, SHIRT, RIGHT, 20.0)


def test_colours():
    assert normalize_color("navy blue") == "blue" and normalize_color("plaid") == "plaid"
    assert list(COLORS) == sorted(COLORS)


option = st.sampled_from(["navy blue", "red", "small", "large", "8 ounce", ""])


@given(
    attributes=st.lists(st.sampled_from(["machine wash", "slim fit", "waterproof"]), max_size=3),
    wanted=st.one_of(st.lists(option, max_size=3), st.dictionaries(st.sampled_from(["color", "size"]), option)),
    chosen=st.dictionaries(st.sampled_from(["color", "size"]), option),
    price=st.floats(0, 100),
)
def test_the_parts_make_the_total(attributes, wanted, chosen, price):
    goal = GOAL | {"attributes": attributes, "goal_options": wanted}
    score = score_purchase(goal, SHIRT, chosen, price)
    parts = score.attribute_share * len(attributes) + score.option_share * len(wanted) + score.price_ok
    assert 0 <= score.total <= 1
    assert score.total == pytest.approx(score.type_score * parts / (len(attributes) + len(wanted) + 1))


# The original's matcher is thefuzz; `original_*` are its scorer's functions on it.
def original_similarity(a, b):
    return fuzz.token_set_ratio(a, b)


def original_color(option):
    return next((color for color in COLORS if color in option), option)


def original_count(wanted, chosen):
    texts = [original_color(option) for option in (wanted.items() if isinstance(wanted, dict) else wanted)]
    values = [original_color(value) for value in chosen]
    return sum(any(original_similarity(value, text) > 85 for value in values) for text in texts)


def test_a_no_break_space_is_matched_as_in_the_original():
    text = "a3-army\u00a0green"
    assert count_options({"color": text}, [text]) == original_count({"color": text}, [text]) == 0


LETTERS = [
    *("abc 12-_", "àéîöüßñ\u00a0\u00ad ab", "ąęłżœŒſ ab", "абвгд ЖЗ", "αβγς ΔΣ", "日本語 中文 한국"),
    *("אבג ابت ۱۲", "ıİǅﬁẞ ﷺ", "😀🇩🇪'\"\\\n\t"),
]
some_script = st.sampled_from(LETTERS).flatmap(lambda letters: st.text(letters, max_size=20))
any_text = st.one_of(some_script, st.text(st.characters(), max_size=20))


@given(any_text, any_text)
def test_texts_are_as_similar_as_in_the_original(a, b):
    for other in (b, a + b, a.upper(), f"{b} {a}"):
        assert similarity(a, other) == original_similarity(a, other)


@given(st.dictionaries(any_text, any_text, max_size=3), st.lists(any_text, max_size=3))
def test_options_count_as_in_the_original(wanted, others):
    for chosen in (list(wanted.values()), others, [*wanted, *others]):
        assert count_options(wanted, chosen) == original_count(wanted, chosen)
        assert count_options(list(wanted.values()), chosen) == original_count(list(wanted.values()), chosen)


def test_every_choice_in_the_real_catalogue_counts_as_in_the_original(real_catalog):
    """Every option of a product as goal, against every value of the product as choice."""
    compared = 0
    for product in real_catalog.values():
        choices = {value for values in product.options.values() for value in values}
        for name, values in product.options.items():
            for wanted in ({name: value} for value in set(values)):
                for choice in choices:
                    assert count_options(wanted, [choice]) == original_count(wanted, [choice]), (wanted, choice)
                compared += len(choices)
    assert compared > 50_000


def test_all_attributes_of_the_real_catalogue_match_as_in_the_original(real_catalog):
    attributes = sorted({attribute for product in real_catalog.values() for attribute in product.attributes})
    different = [
        (own, wanted)
        for own in attributes
        for wanted in attributes
        if similarity(own, wanted) != original_similarity(own, wanted)
    ]
    assert len(attributes) > 500 and different == []


def test_goals_that_their_own_product_does_not_solve_are_known(real_catalog):
    goals = real_catalog.goals.values()
    unsolvable = {goal.id for goal in goals if not solved_by_own_product(goal, real_catalog[goal.asin])}
    assert len(unsolvable) == real_catalog.manifest["counts"]["unsolvable_synthetic_goals"] == 458
    for number, goal in enumerate(real_catalog.goals.values()):
        if number % 10 == 0:
            product = real_catalog[goal.asin]
            score = score_purchase(goal, product, goal.goal_options, product.price)
            assert score.success == (goal.id not in unsolvable)
