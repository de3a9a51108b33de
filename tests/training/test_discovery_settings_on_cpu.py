# SPDX-License-Identifier: Apache-2.0
"""Discovery in a run: mining in warm-up, near misses, borrowed skills, explored sessions, damped updates; a stop in
between changes nothing."""

import pytest
from support.skill_status import decide
from support.synthetic_run import TASKS, Story, make_run, play, run_settings

from siri_verl.core.phases import MINING, WARM_UP, PhaseSettings
from siri_verl.failures import ConfigError
from siri_verl.settings.schema import ExplorationSettings, UpdateSettings
from siri_verl.skills.bank_file import dump_bank
from siri_verl.skills.mining import MiningSettings
from siri_verl.skills.skill import Provenance

LONG_WARM_UP = {"phases": PhaseSettings(warm_up_tasks=99, warm_up_max_steps=6, active_share=1.0)}
COIN = [task for task in TASKS if "coin" in task]
EXPLORE = {"exploration": ExplorationSettings(temperature=1.5, share=0.5, patience=2)}


def mining(**changes):
    return {"mining": MiningSettings(**{"every": 2, "requests": 2, "per_type": 4, **changes})}


def nothing_for_coins(group, session, turn):
    """Coins are never solved, but approached."""
    return {"success": False, "score": 0.5, "turn_reward": 0.0} if group.task_type == "coin" else {}


def test_skills_are_mined_during_warm_up_and_tested_after_it():
    run, story = make_run(run_settings(**LONG_WARM_UP, **mining(during_warm_up=True))), Story()
    play(run, range(1, 7), story)
    assert [step for step, *_ in story.mined] == [2, 4, 6], "the first step has no success yet"
    assert len(run.bank) and not story.decisions
    assert all(skill == "" for plan in story.plans for _, skill in plan)
    assert story.phases == [WARM_UP] * 6
    play(run, range(7, 10), story)
    assert story.phases[6:] == [MINING] * 3 and any(skill for _, skill in story.plans[6])


def test_a_run_that_stays_in_warm_up_refuses_to_mine_there():
    with pytest.raises(ConfigError, match="siri.mining.during_warm_up=True: has no effect"):
        run_settings(phases=PhaseSettings(fixed=WARM_UP), **mining(during_warm_up=True))


@pytest.mark.parametrize("near_misses", [False, True])
def test_a_type_without_success_is_mined_from_its_near_misses(near_misses):
    run = make_run(run_settings(**mining(near_misses=near_misses)))
    play(run, range(1, 9), Story(), change=nothing_for_coins)
    types = {skill.task_type for skill in run.bank.skills.values()}
    assert types == ({"coin", "lamp"} if near_misses else {"lamp"})


def test_a_type_without_skills_borrows():
    run = make_run(run_settings(**mining(borrow=1)))
    play(run, range(1, 9), Story(), change=nothing_for_coins)
    borrowed = [skill for skill in run.bank.skills.values() if skill.task_type == "coin"]
    assert borrowed and all(skill.provenance.miner.startswith("borrowed s") for skill in borrowed)
    assert any(skill.evidence for skill in borrowed), "they are tested in groups of their own type"


def test_explored_types_have_neither_success_nor_skill():
    run = make_run(run_settings(**EXPLORE, **LONG_WARM_UP))
    now = play(run, range(1, 5), Story(), change=nothing_for_coins)
    groups = run.plan(TASKS, 5)
    explored = run.discovery.exploring_sessions(groups, run.bank, 5)
    assert [(g.task_type, n) for g, n in zip(groups, explored, strict=True)] == [
        (g.task_type, 2 if g.task_type == "coin" else 0) for g in groups
    ]
    assert now.explored_sessions(groups) and now.take_metrics()["siri/explored_groups"] == sum(map(bool, explored))
    run.bank.add("a coin", "look", "coin", Provenance("", "", 0))
    assert not any(run.discovery.exploring_sessions(groups, run.bank, 5)), "it has something to test"


def test_exploration_is_off_by_default():
    run = make_run(run_settings(**LONG_WARM_UP))
    now = play(run, range(1, 5), Story(), change=nothing_for_coins)
    assert now.explored_sessions(run.plan(TASKS, 5)) == [0] * len(TASKS)
    assert "siri/explored_groups" not in now.take_metrics()


def test_updates_are_damped_until_every_type_with_a_success_was_tested():
    damped = UpdateSettings(mini_batches=6, damped_mini_batches=1, damped_max_steps=40)
    run = make_run(run_settings(update=damped))
    assert run.mini_batches(1) == 1
    play(run, range(1, 5), Story())
    assert run.machine.phase == MINING and run.mini_batches(5) == 1
    for kind in ("coin", "lamp"):
        skill = run.bank.add("x", f"do something for a {kind}", kind, Provenance("", "", 0)).skill
        decide(run.bank, skill.skill_id, "retired")
    assert run.mini_batches(5) == 6
    assert make_run(run_settings(update=damped)).mini_batches(41) == 6, "not beyond damped_max_steps"
    assert make_run(run_settings(update=UpdateSettings(mini_batches=6))).mini_batches(1) == 6


@pytest.mark.parametrize("stop", [3, 7])
def test_a_run_that_was_stopped_goes_on_the_same(stop, tmp_path):
    given = {**EXPLORE, **mining(during_warm_up=True, near_misses=True, borrow=1, condition_odds=3.0)}
    whole, story = make_run(run_settings(**given)), Story()
    play(whole, range(1, 13), story, change=nothing_for_coins)
    first, part = make_run(run_settings(**given)), Story()
    play(first, range(1, stop + 1), part, change=nothing_for_coins)
    state = first.save(tmp_path)
    resumed = make_run(run_settings(**given))
    resumed.load(tmp_path, state)
    play(resumed, range(stop + 1, 13), part, change=nothing_for_coins)
    assert part == story and dump_bank(resumed.bank) == dump_bank(whole.bank)
    assert resumed.discovery.to_dict() == whole.discovery.to_dict() != {}


@pytest.mark.parametrize(
    "make, options",
    [
        (ExplorationSettings, {"temperature": 0.0}),
        (ExplorationSettings, {"share": 0.0}),
        (ExplorationSettings, {"patience": 0}),
        (UpdateSettings, {"damped_mini_batches": 0}),
        (UpdateSettings, {"damped_max_steps": 0}),
        (MiningSettings, {"borrow": -1}),
        (MiningSettings, {"condition_odds": 0.5}),
    ],
)
def test_settings_that_cannot_work_are_refused(make, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        make(**options)
