# SPDX-License-Identifier: Apache-2.0
"""In a run: groups freed as the gap closes become plain groups; skills end as internalized; both survive a stop."""

import pytest
from support.synthetic_run import TASKS, Story, make_run, play, run_settings

from siri_verl.core.rules import ACTIVE, UtilitySettings
from siri_verl.settings.arms import ArmsSettings
from siri_verl.training import metrics

STEPS = range(1, 21)
BY_GAP = {"arms": ArmsSettings(share_by_gap=True, gap_minimum=0.25)}
UTILITY = {"ema_alpha": 0.3, "n_eval": 4, "promote_above": 0.3, "retire_after": 3, "max_groups": 12}
TAKEN_UP = UtilitySettings(internalized_ratio=0.8, fresh_groups=4, retire_confirmed=True, **UTILITY)


def learned(group, session, turn):
    """Every trajectory succeeds: the plain policy does what the skills say."""
    return {"success": True, "score": 1.0, "turn_reward": 10.0 * turn}


def show_of(run, step, tasks=TASKS):
    return {group.task_id: group.skill for group in run.plan(tasks, step)}


@pytest.fixture
def run():
    run = make_run(run_settings(**BY_GAP))
    play(run, STEPS, Story())
    assert {skill.task_type for skill in run.bank.skills.values() if skill.status == ACTIVE} == {"coin", "lamp"}
    return run


def test_a_closed_gap_frees_groups_of_that_type_alone(run):
    run.bank.book.shown = {"coin": [0.0] * 60, "lamp": [1.0] * 60}
    shown = {"coin": [], "lamp": []}
    for step in range(30, 50):
        for group in run.plan(TASKS, step):
            shown[group.task_type].append(group.skill is not None)
    share = sum(shown["coin"]) / len(shown["coin"])
    assert 0.15 < share < 0.35 and all(shown["lamp"])
    assert show_of(run, 30) == show_of(run, 30), "the choice derives from seed, step and task"


def test_the_groups_that_show_a_skill_show_the_same_one_as_before(run):
    run.bank.book.shown = {"coin": [0.0] * 60}
    by_gap = show_of(run, 30)
    run.settings.arms.share_by_gap = False
    every = show_of(run, 30)
    assert None in by_gap.values() and None not in every.values()
    assert all(skill in (None, every[task]) for task, skill in by_gap.items())


def test_a_run_that_was_stopped_measures_the_same_gap(run, tmp_path):
    state = run.save(tmp_path)
    resumed = make_run(run.settings)
    resumed.load(tmp_path, state)
    assert resumed.bank.book.shown == run.bank.book.shown and any(run.bank.book.shown.values())
    assert [s.state.groups_seen for s in resumed.bank.skills.values()] == [
        s.state.groups_seen for s in run.bank.skills.values()
    ]


def test_what_the_plain_policy_has_learned_ends_as_internalized():
    run, story = make_run(run_settings(utility=TAKEN_UP)), Story()
    play(run, STEPS, story)
    assert not [d for d in story.decisions if d.after == "internalized"]
    play(run, range(21, 36), story, change=learned)
    ended = [d for d in story.decisions if d.after == "internalized"]
    assert {run.bank[d.skill_id].task_type for d in ended} == {"coin", "lamp"}
    census = run.census()
    assert (census.active, census.active_types, census.internalized) == (0, 2, len(ended))
    assert f"{len(ended)} internalized skills" in str(census)
    assert metrics.phase_metrics(run.machine, census)["siri/bank/internalized"] == len(ended)
