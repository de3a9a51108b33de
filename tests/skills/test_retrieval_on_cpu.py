# SPDX-License-Identifier: Apache-2.0
"""Which skill a group is shown."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import UtilitySettings
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.retrieval import RetrievalSettings, Retriever
from siri_verl.skills.skill import Provenance, Skill

SOURCE = Provenance("t", "t_0", 1)


def bank_with(*strategies, kind="kitchen", **utility):
    bank = SkillBank(utility=UtilitySettings(**{"n_eval": 2, "promote_above": 0.1, "ema_alpha": 0.5, **utility}))
    for strategy in strategies:
        assert bank.add("c", strategy, kind, SOURCE).skill
    return bank


def show(bank, skill_id, *deltas):
    for i, delta in enumerate(deltas):
        bank.record(TreatmentEffect("g", skill_id, delta, 0.5 + delta / 2, 0.5 - delta / 2, 4, 4), f"t{i}", i)


def shares(retriever, bank, groups=2000, kind="kitchen"):
    picks = (retriever.retrieve(bank, kind, step=i % 7, task_id=f"task{i}") for i in range(groups))
    return {k: n / groups for k, n in Counter(skill.skill_id if skill else None for skill in picks).items()}


def test_no_skill_of_the_type_means_no_skill():
    bank = bank_with("one", kind="garden")
    assert Retriever(RetrievalSettings(), 1).retrieve(bank, "kitchen", step=1, task_id="t") is None
    show(bank, "s0001", -1.0, -1.0, -1.0, -1.0)
    assert bank["s0001"].status == "retired"
    assert Retriever(RetrievalSettings(), 1).retrieve(bank, "garden", step=1, task_id="t") is None


def test_without_an_active_skill_every_group_tests_the_first_candidate():
    assert shares(Retriever(RetrievalSettings(), 1), bank_with("one", "two", "three")) == {"s0001": 1.0}


def test_two_candidates_share_the_groups_when_two_may_be_tested():
    got = shares(Retriever(RetrievalSettings(testing_per_type=2), 1), bank_with("one", "two", "three"))
    assert set(got) == {"s0001", "s0002"} and abs(got["s0001"] - 0.5) < 0.05


def test_the_active_skill_of_highest_utility_is_shown_and_candidates_get_their_share():
    bank = bank_with("one", "two", "three", "four")
    show(bank, "s0001", 0.5, 0.5)
    show(bank, "s0002", 1.0, 1.0)
    assert bank["s0001"].status == bank["s0002"].status == "active"
    got = shares(Retriever(RetrievalSettings(explore=0.25), 1), bank)
    assert set(got) == {"s0002", "s0003"} and abs(got["s0003"] - 0.25) < 0.04
    assert shares(Retriever(RetrievalSettings(explore=0.0), 1), bank) == {"s0002": 1.0}


@pytest.mark.parametrize("rule", ["ema", "sequential"])
def test_best_is_the_skill_of_highest_utility_under_either_rule(rule):
    bank = bank_with("one", "two", "three", decision=rule, fdr=0.9, max_groups=60)
    for skill_id, delta in (("s0001", 0.75), ("s0002", 1.0), ("s0003", 0.75)):
        while bank[skill_id].status != "active":
            show(bank, skill_id, delta)
    utilities = {skill_id: bank.utility(skill_id) for skill_id in bank.skills}
    best = Retriever(RetrievalSettings(), 1).plan(bank, "kitchen").best
    assert best is not None and utilities[best.skill_id] == max(utilities.values())


def test_a_test_that_has_begun_is_finished_then_comes_what_was_mined_most_often():
    bank = bank_with("one", "two", "three")
    retriever = Retriever(RetrievalSettings(), 1)
    bank.add("c", "three", "kitchen", SOURCE)
    assert [s.skill_id for s in retriever.plan(bank, "kitchen").testing] == ["s0003"]
    show(bank, "s0002", 0.0)
    plan = retriever.plan(bank, "kitchen")
    assert [s.skill_id for s in plan.testing] == ["s0002"] and plan.waiting == 2
    assert str(plan) == "kitchen: no active skill; under test: s0002 (1 groups so far); 2 waiting"
    assert [p.task_type for p in retriever.plans(bank)] == ["kitchen"]


def test_what_is_unlike_the_decided_skills_is_tested_next_whatever_its_repeats():
    bank = bank_with("choose every option named", "choose each option that is named", "add the quality to the query")
    retriever = Retriever(RetrievalSettings(), 1)
    bank.repeat("s0002", SOURCE)
    bank.repeat("s0001", SOURCE)
    assert [s.skill_id for s in retriever.plan(bank, "kitchen").testing] == ["s0001"]
    show(bank, "s0001", -1.0, -1.0, -1.0, -1.0)
    assert bank["s0001"].status == "retired"
    assert [s.skill_id for s in retriever.plan(bank, "kitchen").testing] == ["s0003"]


def test_an_active_skill_counts_as_decided():
    bank = bank_with("choose every option named", "choose each option that is named", "add the quality to the query")
    show(bank, "s0001", 1.0, 1.0)
    assert bank["s0001"].status == "active"
    assert [s.skill_id for s in Retriever(RetrievalSettings(), 1).plan(bank, "kitchen").testing] == ["s0003"]


def test_choices_derive_from_seed_step_and_task_alone():
    bank = bank_with("one", "two")

    def picks(seed):
        retriever = Retriever(RetrievalSettings(testing_per_type=2), seed)
        keys = [(step, task) for step in range(5) for task in "abcdef"]
        return {k: retriever.retrieve(bank, "kitchen", step=k[0], task_id=k[1]).skill_id for k in keys}

    first = picks(1)
    assert picks(1) == first != picks(2)
    late = Retriever(RetrievalSettings(testing_per_type=2), 1)
    assert late.retrieve(bank, "kitchen", step=4, task_id="f").skill_id == first[4, "f"], "no hidden state"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-4, 4)), max_size=60), st.sampled_from([1, 2]))
def test_only_living_skills_of_the_type_are_shown_and_few_are_tested(events, limit):
    bank = bank_with("one", "two", "three", "four")
    bank.add("c", "five", "garden", SOURCE)
    retriever = Retriever(RetrievalSettings(testing_per_type=limit), 3)
    for i, (number, delta) in enumerate(events):
        shown = retriever.retrieve(bank, "kitchen", step=i, task_id="t")
        plan = retriever.plan(bank, "kitchen")
        assert shown is None or (shown.status != "retired" and shown.task_type == "kitchen")
        assert shown in (*plan.testing, plan.best)
        assert len([s for s in plan.testing if not s.evidence]) <= limit
        show(bank, f"s{number + 1:04d}", delta / 4)


def test_a_choice_after_many_decisions_is_that_of_a_retriever_that_saw_none_of_them():
    bank, watching = bank_with(), Retriever(RetrievalSettings(), 1)
    for i in range(24):
        bank.enter(Skill(f"s{i:04d}", "c", f"word{i % 3} word{i % 5} word{i % 7}", "kitchen", SOURCE))
    for _ in range(12):
        testing = watching.plan(bank, "kitchen").testing
        assert testing == Retriever(RetrievalSettings(), 1).plan(bank, "kitchen").testing
        show(bank, testing[0].skill_id, *[-1.0] * 4)
        assert testing[0].status == "retired"


def test_without_tests_any_skill_that_is_not_retired_is_shown_or_the_newest():
    bank = bank_with("one", "two", "three", "four")
    show(bank, "s0001", 1.0, 1.0)
    show(bank, "s0002", -1.0, -1.0, -1.0, -1.0)
    assert (bank["s0001"].status, bank["s0002"].status) == ("active", "retired")
    got = shares(Retriever(RetrievalSettings(choice="any"), 1), bank)
    assert got.keys() == {"s0001", "s0003", "s0004"} and min(got.values()) > 0.3
    assert shares(Retriever(RetrievalSettings(choice="newest"), 1), bank) == {"s0004": 1.0}
    assert shares(Retriever(RetrievalSettings(choice="newest"), 1), bank, kind="garden") == {None: 1.0}
