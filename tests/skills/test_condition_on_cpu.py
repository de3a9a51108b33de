# SPDX-License-Identifier: Apache-2.0
"""A condition that names another type's tasks is found by the words of the tasks alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.skills.bank import SkillBank
from siri_verl.skills.condition import TypeWords, words_of
from siri_verl.skills.mining import Miner, MiningSettings
from siri_verl.skills.pool import SourceTrajectory, SuccessPool

THINGS = {"garden": ("rakes", "spade", "hose"), "bath": ("towel", "soap", "mirror"), "office": ("stapler", "desk")}
TASKS = [
    (kind, f"i need a {color} {thing} for my {kind} under {price} dollars")
    for kind, things in THINGS.items()
    for thing in things
    for color in ("red", "blue")
    for price in (20, 40)
]
WORDS = TypeWords()
WORDS.add(TASKS)
WORD = st.sampled_from(["rake", "soap", "desk", "garden", "a", "for", "red", "dollars", "20", "unknown"])


@pytest.mark.parametrize(
    "condition, types",
    [
        ("the task asks for something for the garden", {"garden"}),
        ("a rake or a spade is wanted", {"garden"}),
        ("the task names the bath", {"bath"}),
        ("a price in dollars is given", set(THINGS)),
        ("nothing of this occurs anywhere", set(THINGS)),
        ("", set(THINGS)),
    ],
)
def test_a_condition_fits_the_types_whose_tasks_have_its_words(condition, types):
    assert {kind for kind in THINGS if WORDS.fits(condition, kind, 3.0)} == types


@settings(max_examples=200, deadline=None)
@given(st.lists(WORD, max_size=6), st.floats(1, 10), st.floats(1, 10))
def test_every_condition_fits_some_type_and_larger_odds_turn_fewer_away(words, one, other):
    condition = " ".join(words)
    few, many = ({kind for kind in THINGS if WORDS.fits(condition, kind, odds)} for odds in sorted((one, other)))
    assert few and few <= many


@given(st.permutations(TASKS))
@settings(max_examples=20, deadline=None)
def test_the_order_of_tasks_does_not_matter_and_a_checkpoint_keeps_them(tasks):
    words = TypeWords()
    words.add(tasks)
    resumed = TypeWords.from_dict(json.loads(json.dumps(words.to_dict())))
    assert resumed.counts == words.counts == WORDS.counts and resumed.tasks == WORDS.tasks


def test_one_type_or_a_type_without_tasks_turns_nothing_away():
    alone = TypeWords()
    assert alone.fits("the garden", "garden", 1.0)
    alone.add(TASKS[:4])
    assert alone.fits("a bath", "garden", 1.0) and alone.fits("a rake", "bath", 1.0)


def test_plurals_count_as_their_singular():
    assert words_of("rakes and dresses") == {"rake", "and", "dress"}


@pytest.mark.parametrize("odds, entered", [(None, 2), (3.0, 1)])
def test_mining_turns_such_a_skill_away_and_counts_it(odds, entered):
    pool, bank = SuccessPool(4), SkillBank()
    turns = (("Search", "search[x]"), ("page", "click[buy]"))
    pool.add(SourceTrajectory(f"t{k}", "a rake", "garden", f"t{k}_0", k, turns, True) for k in range(2))
    answers = iter(
        ["the garden is named\nstrategy: read the features", "the bath is named\nstrategy: look at page two"]
    )
    miner = Miner(MiningSettings(condition_odds=odds), 1, words=WORDS)
    report = miner.mine(pool, bank, 3, lambda prompts: [f"condition: {next(answers)}" for _ in prompts])
    assert len(report.entered) == len(bank) == entered
    assert report.problems == ({"condition_of_other_type": 1} if odds else {})
    assert report.metrics().get("turned_away/condition_of_other_type", 0.0) == 2 - entered
