# SPDX-License-Identifier: Apache-2.0
"""A task type without a skill tries those of other types, as copies with evidence of their own."""

from support.skill_status import decide

from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.borrowing import borrow, borrowable
from siri_verl.skills.skill import Provenance

STRATEGIES = ["read the features first", "look at page two", "choose every option", "sort by the lowest price"]
TYPES = {"garden", "bath", "office"}


def bank_of(*kinds, **caps):
    bank = SkillBank(BankSettings(**caps))
    for k, kind in enumerate(kinds):
        bank.add(f"{kind} is named", STRATEGIES[k], kind, Provenance(f"t{k}", f"t{k}_0", 3))
    return bank


def ids(skills):
    return [skill.skill_id for skill in skills]


def test_active_skills_come_first_and_retired_ones_not_at_all():
    bank = bank_of("garden", "garden", "bath", "bath")
    decide(bank, "s0001", "retired")
    decide(bank, "s0003", "active")
    bank.book.states["s0004"].utility = 0.2
    assert ids(borrowable(bank, "office")) == ["s0003", "s0004", "s0002"]
    assert ids(borrowable(bank, "garden")) == ["s0003", "s0004"]


def test_a_type_without_a_skill_borrows_candidates_to_test():
    bank = bank_of("garden", "bath")
    decide(bank, "s0002", "active")
    assert borrow(bank, TYPES, 1, step=9) == ["s0003"]
    copy, source = bank["s0003"], bank["s0002"]
    assert (copy.task_type, copy.status, copy.strategy) == ("office", "candidate", source.strategy)
    assert copy.provenance == Provenance("t1", "t1_0", 9, "borrowed s0002")
    assert borrow(bank, TYPES, 1, step=10) == [], "it has one to test now"


def test_what_failed_here_is_not_borrowed_again_and_copies_are_not_copied():
    bank = bank_of("garden")
    tried = []
    for step in range(5):
        entered = borrow(bank, ["office"], 2, step)
        tried += entered
        for skill_id in entered:
            decide(bank, skill_id, "retired")
    assert len(tried) == 1
    decide(bank, "s0001", "retired")
    assert borrow(bank, TYPES, 2, 9) == []


def test_an_internalized_skill_needs_no_successor_and_can_be_borrowed():
    bank = bank_of("garden")
    decide(bank, "s0001", "active")
    decide(bank, "s0001", "internalized")
    assert borrow(bank, ["garden", "bath"], 1, 4) == ["s0002"] and bank["s0002"].task_type == "bath"


def test_a_full_bank_takes_none():
    assert borrow(bank_of("garden", max_skills=1), TYPES, 1, 4) == []
