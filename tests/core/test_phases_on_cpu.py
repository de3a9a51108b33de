# SPDX-License-Identifier: Apache-2.0
"""The phase machine: each condition, caps, ablations, resume."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.phases import PHASES, Census, NoActiveSkillError, PhaseMachine, PhaseMove, PhaseSettings

NOTHING = Census(types=6)
HALF = Census(candidate=2, active=3, retired=1, types=6, active_types=3)


def test_warm_up_ends_with_enough_distinct_tasks_solved():
    machine = PhaseMachine(PhaseSettings(warm_up_tasks=3))
    assert machine.end_step(1, ["a", "b"], NOTHING) is None
    assert machine.end_step(2, ["a", "b"], NOTHING) is None, "the same tasks again do not count"
    move = machine.end_step(3, ["c"], NOTHING)
    assert (move.before, move.after, move.step) == ("warm_up", "mining", 3) and "3 distinct tasks" in move.reason
    assert machine.pairs_groups
    assert not machine.internalizes
    assert machine.steps == 0


def test_warm_up_ends_at_its_cap():
    machine = PhaseMachine(PhaseSettings(warm_up_max_steps=2))
    assert machine.end_step(1, ["a"], NOTHING) is None
    assert "2 steps of warm-up" in machine.end_step(2, [], NOTHING).reason


def test_mining_ends_when_half_of_the_types_have_an_active_skill():
    machine = PhaseMachine(PhaseSettings(skip=["warm_up"]))
    assert machine.phase == "mining"
    assert machine.end_step(1, [], Census(active=2, types=6, active_types=2)) is None
    move = machine.end_step(2, [], HALF)
    assert move.after == "internalization" and "3 of 6 task types" in move.reason
    assert machine.internalizes
    assert machine.pairs_groups
    assert machine.index == 2


def test_no_task_type_seen_is_not_half_of_all():
    machine = PhaseMachine(PhaseSettings(skip=["warm_up"]))
    assert machine.end_step(1, [], Census()) is None


def test_mining_without_an_active_skill_at_the_cap_is_an_error_that_names_the_census():
    machine = PhaseMachine(PhaseSettings(skip=["warm_up"], mining_max_steps=2))
    machine.end_step(1, [], NOTHING)
    with pytest.raises(
        NoActiveSkillError, match="2 steps of mining.*4 candidate, 0 active, 5 retired.*0 of 6 task types.*allow_empty"
    ):
        machine.end_step(2, [], Census(candidate=4, retired=5, types=6))
    allowed = PhaseMachine(PhaseSettings(skip=["warm_up"], mining_max_steps=1, allow_empty=True))
    assert allowed.end_step(1, [], NOTHING).after == "internalization"


def test_one_active_skill_is_enough_at_the_cap():
    machine = PhaseMachine(PhaseSettings(skip=["warm_up"], mining_max_steps=1))
    assert machine.end_step(1, [], Census(active=1, types=6, active_types=1)).after == "internalization"


def test_without_internalization_mining_lasts():
    machine = PhaseMachine(PhaseSettings(skip=["internalization"], warm_up_max_steps=1, mining_max_steps=1))
    assert machine.end_step(1, [], NOTHING).after == "mining"
    for step in range(2, 6):
        assert machine.end_step(step, [], NOTHING) is None, "nothing to move to, so nothing to complain about either"
    assert machine.phase == "mining"


def test_without_mining_warm_up_leads_to_internalization():
    machine = PhaseMachine(PhaseSettings(skip=["mining"], warm_up_max_steps=1))
    assert machine.end_step(1, [], NOTHING).after == "internalization"


@pytest.mark.parametrize("phase", PHASES)
def test_a_fixed_phase_never_ends(phase):
    machine = PhaseMachine(PhaseSettings(fixed=phase, warm_up_tasks=1, warm_up_max_steps=1, mining_max_steps=1))
    for step in range(5):
        assert machine.end_step(step, [f"task{step}"], HALF) is None
    assert machine.phase == phase


def test_updates_are_counted_in_internalization_alone():
    machine = PhaseMachine(PhaseSettings(fixed="internalization"))
    assert [machine.next_update() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(RuntimeError, match="phase mining"):
        PhaseMachine(PhaseSettings(fixed="mining")).next_update()


EVENTS = st.lists(
    st.tuples(st.lists(st.sampled_from("abcdef"), max_size=3), st.integers(0, 6), st.integers(1, 6)), max_size=40
)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.integers(0, 40), st.sets(st.sampled_from(PHASES), max_size=2))
def test_a_resumed_run_moves_as_one_that_was_not_stopped(events, stop, skip):
    options = PhaseSettings(
        warm_up_tasks=4, warm_up_max_steps=6, mining_max_steps=8, allow_empty=True, skip=sorted(skip)
    )

    def play(machine, part, first):
        return [
            machine.end_step(first + i, tasks, Census(active=a, types=t, active_types=min(a, t)))
            for i, (tasks, a, t) in part
        ]

    straight = PhaseMachine(options)
    play(straight, enumerate(events), 0)
    half = PhaseMachine(options)
    play(half, enumerate(events[:stop]), 0)
    resumed = PhaseMachine.from_dict(options, json.loads(json.dumps(half.to_dict())))
    play(resumed, enumerate(events[stop:]), len(events[:stop]))
    assert resumed.to_dict() == straight.to_dict()


@settings(max_examples=150, deadline=None)
@given(EVENTS)
def test_phases_only_go_forward_and_every_move_has_a_reason(events):
    machine = PhaseMachine(PhaseSettings(warm_up_tasks=4, warm_up_max_steps=6, mining_max_steps=8, allow_empty=True))
    seen = [machine.phase]
    for i, (tasks, active, types) in enumerate(events):
        machine.end_step(i, tasks, Census(active=active, types=types, active_types=min(active, types)))
        seen.append(machine.phase)
    assert [PHASES.index(p) for p in seen] == sorted(PHASES.index(p) for p in seen)
    assert len(machine.moves) == len(set(seen)) - 1 and all(move.reason for move in machine.moves)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(warm_up_tasks=0), "siri.phases.warm_up_tasks=0"),
        (dict(warm_up_max_steps=0), "warm_up_max_steps=0"),
        (dict(active_share=0.0), "active_share=0.0"),
        (dict(skip=["distillation"]), r"skip=\['distillation'\]: use phases out of warm_up"),
        (dict(skip=list(PHASES)), "leaves no phase"),
        (dict(fixed="phase 2"), "fixed='phase 2'"),
        (dict(fixed="mining", skip=["warm_up"]), "exclude each other"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PhaseSettings(**options)


def test_bad_checkpoints_are_named():
    good = PhaseMachine(PhaseSettings()).to_dict()
    with pytest.raises(ValueError, match="version 7, expected 1"):
        PhaseMachine.from_dict(PhaseSettings(), {**good, "version": 7})
    with pytest.raises(ValueError, match="incomplete"):
        PhaseMachine.from_dict(PhaseSettings(), {k: v for k, v in good.items() if k != "moves"})
    with pytest.raises(ValueError, match="in phase 'warm_up', the settings allow mining, internalization"):
        PhaseMachine.from_dict(PhaseSettings(skip=["warm_up"]), good)


def test_moves_survive_a_checkpoint():
    machine = PhaseMachine(PhaseSettings(warm_up_tasks=1))
    move = machine.end_step(1, ["a"], NOTHING)
    assert PhaseMachine.from_dict(PhaseSettings(), machine.to_dict()).moves == [move]
    assert isinstance(move, PhaseMove)
