# SPDX-License-Identifier: Apache-2.0
"""The tables behind `siri-verl skills list | show | history | diff`."""

from __future__ import annotations

import pytest
from rich.console import Console
from support.skill_status import decide

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import UtilitySettings
from siri_verl.report.tables import bank_diff, skill_diff, skill_history, skill_list, skill_show
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Provenance


def text(table):
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def bank_at(groups):
    bank = SkillBank(utility=UtilitySettings(n_eval=3, promote_above=0.1, ema_alpha=0.3))
    bank.add("the kitchen is named", "choose [bold]every[/bold] option", "kitchen", Provenance("task-7", "task-7_1", 4))
    bank.add("the garden is named", "look at the second page", "garden", Provenance("task-8", "task-8_1", 4))
    for i in range(groups):
        delta = 0.5 if i < 4 else -1.0
        bank.record(TreatmentEffect("g", "s0001", delta, 0.75, 0.75 - delta, 4, 4), f"t{i}", 10 + i)
    return bank


def test_list_shows_numbers_and_text():
    shown = text(skill_list(bank_at(4)))
    assert "1 candidate, 1 active, 0 retired skills; 1 of 2 task types have an active one" in shown
    line = next(line for line in shown.splitlines() if "s0001" in line)
    assert all(part in line for part in ("active", "kitchen", "4", "+0.500", "choose [bold]every[/bold] option"))
    assert "s0002" not in text(skill_list(bank_at(4), status="active"))
    assert "s0001" not in text(skill_list(bank_at(4), task_type="garden"))
    with pytest.raises(ValueError, match="status 'dead'"):
        skill_list(bank_at(0), status="dead")
    with pytest.raises(ValueError, match="--task-type 'cellar'; use one of garden, kitchen"):
        skill_list(bank_at(0), task_type="cellar")
    with pytest.raises(ValueError, match="--task-type 'garden'; the bank is empty"):
        skill_list(SkillBank(), task_type="garden")


def test_an_internalized_skill_is_listed_as_such():
    bank = bank_at(4)
    decide(bank, "s0001", "internalized")
    shown = text(skill_list(bank, status="internalized"))
    assert "1 candidate, 0 active, 0 retired, 1 internalized skills; 1 of 2 task types" in shown
    assert "s0001" in shown and "s0002" not in shown
    assert "internalized" in text(skill_history(bank, "s0001"))


def test_show_tells_where_a_skill_came_from_and_why_it_is_what_it_is():
    shown = text(skill_show(bank_at(4), "s0001"))
    assert "policy at step 4, from task task-7, trajectory task-7_1" in shown
    assert "candidate -> active: utility 0.329 above 0.1 after 3 groups" in shown
    assert "step 12" in shown
    with pytest.raises(KeyError, match="s0009"):
        skill_show(bank_at(0), "s0009")


def test_history_puts_each_decision_after_the_group_that_settled_it():
    bank = bank_at(10)
    lines = [line for line in text(skill_history(bank, "s0001")).splitlines() if line.startswith("│")]
    kinds = ["decision" if "->" in line else "group" for line in lines]
    first, second = bank["s0001"].decisions
    settled = [first.groups, first.groups + second.groups]
    assert second.after == "retired"
    places = [i for i, kind in enumerate(kinds) if kind == "decision"]
    assert places == [settled[0], settled[1] + 1] and kinds.count("group") == 10
    assert "+0.500" in lines[0] and "t0" in lines[0]
    assert "retired" in lines[places[1]]


def test_history_of_an_untested_skill_is_empty():
    assert not [line for line in text(skill_history(bank_at(0), "s0001")).splitlines() if line.startswith("│")]


def test_diff_of_two_checkpoints():
    before, after = bank_at(1), bank_at(4)
    after.add("c", "a new one", "garden", Provenance("t", "r", 9))
    diff = bank_diff(before, after)
    assert diff.added == ("s0003",)
    assert diff.removed == ()
    assert diff.changed == ()
    assert diff.moved == {"s0001": ("candidate", "active")} and diff.evidence == {"s0001": 3}
    shown = text(skill_diff(before, after))
    assert "candidate -> active" in shown
    assert "+3" in shown
    assert "new, candidate" in shown
    assert "s0002" not in shown
    assert "gone" in text(skill_diff(after, before))
    assert "no difference" in text(skill_diff(before, before))


def test_diff_sees_other_text_under_the_same_id():
    other = SkillBank()
    other.add("the kitchen is named", "buy at once", "kitchen", Provenance("t", "r", 1))
    assert bank_diff(bank_at(0), other).changed == ("s0001",)
    assert "other text" in text(skill_diff(bank_at(0), other))
