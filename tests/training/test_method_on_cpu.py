# SPDX-License-Identifier: Apache-2.0
"""SIRI's state over a run, fed with synthetic episodes: three phases, and a stop in the middle of any of them."""

import json
from collections import Counter

import numpy as np
import pytest
from support.skill_status import decide
from support.synthetic_run import BAD, GOOD, IDLE, TASKS, Story, make_run, play, run_settings, step_table

from siri_verl.core.gigpo import GigpoSettings
from siri_verl.core.internalization import InternalizationSettings
from siri_verl.core.pairing import PLAIN, SKILL
from siri_verl.core.phases import INTERNALIZATION, MINING, WARM_UP, PhaseSettings
from siri_verl.core.rules import ACTIVE, RETIRED
from siri_verl.envs.toy import ToyEnv
from siri_verl.screen import MARK
from siri_verl.settings.arms import ArmsSettings
from siri_verl.settings.schema import ControlSettings, RewardSettings
from siri_verl.skills.bank_file import dump_bank
from siri_verl.skills.mining import MiningReport
from siri_verl.skills.skill import Provenance
from siri_verl.training.advantages import table_advantages
from siri_verl.training.console import print_mining
from siri_verl.training.method import Siri
from siri_verl.training.metrics import phase_metrics
from siri_verl.training.step import SiriStep
from siri_verl.trajectory.failed_tasks import FailedTasksError

STEPS = range(1, 21)


def counts(run):
    return phase_metrics(run.machine, run.census())


@pytest.fixture(scope="module")
def whole():
    run, story = make_run(), Story()
    play(run, STEPS, story)
    return run, story


def test_a_run_goes_through_its_phases(whole):
    run, story = whole
    assert [(move.before, move.after) for move in story.moves] == [(WARM_UP, MINING), (MINING, INTERNALIZATION)]
    assert story.phases == sorted(story.phases, key=(WARM_UP, MINING, INTERNALIZATION).index)
    assert {WARM_UP, MINING, INTERNALIZATION} == set(story.phases)
    warm_up = story.phases.count(WARM_UP)
    assert all(skill == "" for plan in story.plans[:warm_up] for _, skill in plan), "warm-up shows no skill"
    # mining begins with the phase, and then every second step
    assert story.mined[0][0] == warm_up + 1
    assert [step for step, *_ in story.mined[1:]] == [s for s in STEPS if s > warm_up + 1 and s % 2 == 0]


def test_evidence_decides_what_becomes_of_mined_skills(whole):
    run, story = whole
    strategies = {(skill.task_type, skill.strategy): skill for skill in run.bank.skills.values()}
    promoted = [d for d in story.decisions if d.after == ACTIVE]
    assert {d.skill_id for d in promoted} == {strategies[kind, GOOD].skill_id for kind in ("coin", "lamp")}
    for decision in promoted:
        evidence = [e.delta for e in run.bank[decision.skill_id].evidence if e.step <= decision.step]
        assert 4 <= decision.groups <= len(evidence) and decision.mean > 0.3
    assert {strategy for _, strategy in strategies} == {GOOD, BAD, IDLE}
    assert [d.skill_id for d in story.decisions if d.after == RETIRED]
    assert sum(report[3].get("empty_strategy", 0) for report in story.mined), "a malformed answer is counted"
    assert sum(report[3].get("duplicate", 0) for report in story.mined)
    for skill in run.bank.skills.values():
        step, task, session = skill.provenance.trajectory.split("/")
        assert skill.provenance.miner == "policy"
        assert skill.provenance.step > int(step)
        assert int(session) < 4
        assert task == skill.provenance.task_id and all(e.plain_n == e.skill_n == 2 for e in skill.evidence)


def test_lambda_rises_with_the_updates_of_the_last_phase(whole):
    _, story = whole
    assert story.lambdas[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert len(story.lambdas) == story.phases.count(INTERNALIZATION)


def test_only_turns_of_helped_groups_are_internalized(whole):
    _, story = whole
    seen = 0
    for step, rows, weights in story.selections:
        evidence = {}
        for skill in whole[0].bank.skills.values():
            evidence |= {e.task_id: e.delta for e in skill.evidence if e.step == step}
        shown = {task for task, skill in story.plans[step - 1] if skill}
        assert {task for task, _, _ in rows} == {task for task in shown if evidence[task] > 0}
        assert all(int(session) >= 2 for _, session, _ in rows), "only the skill arm"
        assert all(0 <= w <= 1 for w in weights)
        seen += len(rows)
    assert seen


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 6, 9, 12, 14, 17, 19])
def test_a_stopped_run_goes_on_as_if_it_had_not(whole, stop, tmp_path):
    run, story = make_run(), Story()
    play(run, range(1, stop + 1), story)
    # through JSON, as siri_state.json keeps it
    state = json.loads(json.dumps(run.save(tmp_path)))
    resumed = make_run()
    resumed.load(tmp_path, state)
    play(resumed, range(stop + 1, STEPS.stop), story)
    assert dump_bank(resumed.bank) == dump_bank(whole[0].bank)
    assert story == whole[1]
    assert resumed.machine.to_dict() == whole[0].machine.to_dict()
    assert resumed.pool.to_dict() == whole[0].pool.to_dict() and counts(resumed) == counts(whole[0])


def test_another_seed_is_another_run(whole):
    run, story = make_run(run_settings(seed=2)), Story()
    play(run, STEPS, story)
    assert dump_bank(run.bank) != dump_bank(whole[0].bank)


# ---- one step of the internalization phase -------------------------------------------------------------------------


def one_step(change=None, **given):
    """A run fixed in internalization whose bank holds a good candidate for coins and a bad one for lamps; its step
    1."""
    config = run_settings(phases=PhaseSettings(fixed=INTERNALIZATION), **given)
    run, story = make_run(config), Story()
    for kind, strategy in (("coin", GOOD), ("lamp", BAD)):
        run.bank.add("a note is there", strategy, kind, Provenance("", "", 0, "hand"))
    run.mined = 1
    return run, play(run, [1], story, change)


def chosen(run, step, norm="mean"):
    advantage = table_advantages(step.table, GigpoSettings(norm=norm)).total
    return *run.internalization_weights(step.table, step.effects, advantage, norm, 1), advantage


def test_the_gate_wants_the_skill_arm_of_a_helped_group():
    run, step = one_step()
    is_open, weight, advantage = chosen(run, step)
    delta = {g: effect.delta for g, effect in step.effects.items()}
    expected = (step.table.arm == SKILL) & np.array([delta[g] > 0 for g in step.table.group])
    assert np.array_equal(is_open, expected) and 0 < is_open.sum() < (step.table.arm == SKILL).sum()
    assert weight == pytest.approx(np.clip(advantage / 10.0, 0, 1))


def test_weights_follow_the_normalisation():
    _, weight, advantage = chosen(*one_step(), "mean_std")
    assert weight == pytest.approx(np.clip(advantage, 0, 2)) and (advantage > 0).any()


def test_ablations_of_the_gate_and_the_weights():
    run, step = one_step(internalization=InternalizationSettings(gate=False, advantage_weights=False))
    is_open, weight, _ = chosen(run, step)
    assert np.array_equal(is_open, step.table.arm == SKILL) and set(weight) == {1.0}


def test_require_active_shuts_out_candidates():
    run, step = one_step(internalization=InternalizationSettings(require_active=True))
    assert {skill.status for skill in run.bank.skills.values()} == {"candidate"}
    assert not chosen(run, step)[0].any()
    # the same rows once their skill is active
    coin = next(skill for skill in run.bank.skills.values() if skill.task_type == "coin")
    decide(run.bank, coin.skill_id, ACTIVE)
    is_open = chosen(run, step)[0]
    assert is_open.any() and set(step.table.skill_id[is_open]) == {coin.skill_id}


@pytest.mark.parametrize("spoil", [{"status": "environment_lost"}, {"skill_missing": True}])
def test_a_spoiled_group_has_no_delta_and_a_shut_gate(spoil):
    spoiled = set()

    def change(group, session, turn):
        # the first coin group of the step; one session of its skill arm
        if group.task_type == "coin" and session == 3 and (not spoiled or group.task_id in spoiled):
            spoiled.add(group.task_id)
            return spoil
        return {}

    run, step = one_step(change)
    (task,) = spoiled
    effect = step.effects[step.table.group[step.table.task_id == task][0]]
    assert not effect.defined and effect.undefined == "excluded"
    evidence = [e.task_id for skill in run.bank.skills.values() for e in skill.evidence]
    assert task not in evidence and len(evidence) == 5
    is_open, _, _ = chosen(run, step)
    assert not is_open[step.table.task_id == task].any()


def test_answers_the_environment_lists_are_kept_from_skills():
    class Telling(ToyEnv):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed, options=options)
            return observation, {**info, "answers": ["first shelf"]}

    run = make_run(run_settings(phases=PhaseSettings(fixed=MINING)))
    run.planner.env = Telling()
    table = step_table(run.plan(TASKS, 1), run.settings, run.arm_plan.plain, 1)
    run.collect_successes(table, 1)
    kept = [episode for kind in run.pool.types() for episode in run.pool.of_type(kind)]
    assert len(kept) >= 2 and all(episode.answers == ("first shelf",) for episode in kept)
    text = "condition: a note is there\nstrategy: {}"
    given = [text.format("look at the first shelf"), text.format("look at every shelf")]
    report = run.mine(lambda prompts: given[: len(prompts)], 2)
    assert report.leaks == ["answer: first shelf"] and len(report.entered) == 1


@pytest.mark.parametrize(("failing", "stops"), [(1, False), (9, True)])
def test_tasks_that_cannot_be_played_are_counted_and_many_of_them_stop_the_run(caplog, failing, stops):
    run = make_run(run_settings())
    groups = run.plan(TASKS[:12], 1)
    assert len(groups) >= 10
    bad = {group.task_id for group in groups[:failing]}
    spoil = {"status": "not_started", "reason": "ValueError: damaged"}
    table = step_table(
        groups, run.settings, run.arm_plan.plain, 1, lambda group, *_: spoil if group.task_id in bad else {}
    )
    if stops:
        with pytest.raises(FailedTasksError, match="max_failed_task_share=0.5.*ValueError: damaged"):
            run.check_episodes(table)
        return
    run.check_episodes(table)
    assert run.failed.reasons == dict.fromkeys(bad, "ValueError: damaged")
    assert f"{bad.pop()} cannot be played and does not count" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"skill_missing": True}, "the skill does not fit into a later prompt"),
        ({"status": "environment_lost"}, "an episode was lost"),
    ],
)
def test_groups_without_a_treatment_effect_are_counted_and_named(caplog, spoil, why):
    run = make_run(run_settings(phases=PhaseSettings(fixed=INTERNALIZATION)))
    entry = run.bank.add("a note is there", GOOD, "coin", Provenance("", "", 0, "hand"))
    groups = run.plan([task for kind in ("coin", "lamp") for task in [t for t in TASKS if kind in t][:3]], 1)
    shown = [group.task_id for group in groups if group.skill]
    plain = next(group.task_id for group in groups if not group.skill)

    def change(group, session, turn):
        # one episode of two paired groups, and of one that has no skill arm to lose
        return spoil if group.task_id in (*shown[:2], plain) and session == 0 else {}

    def recorded(change=None):
        step = SiriStep(run, 1, {})
        step.table = step_table(groups, run.settings, run.arm_plan.plain, 1, change)
        step.record_effects()
        return step.metrics

    metrics = recorded(change)
    assert metrics["siri/excluded_groups"] == 2 and metrics["siri/paired_groups"] == len(shown) - 2 > 0
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    expected = [f"step 1: no treatment effect of {entry.skill.skill_id} on {task}: {why}" for task in shown[:2]]
    assert sorted(warnings) == sorted(expected)
    assert recorded()["siri/excluded_groups"] == 0


def test_a_run_prints_its_mining_rounds_plans_and_decisions(capsys):
    run, story = make_run(), Story()
    play(run, STEPS, story)
    said = capsys.readouterr().out.splitlines()
    assert story.mined and story.decisions
    for step, requests, entered, problems in story.mined:
        (line,) = [text for text in said if text.startswith(f"step {step}: mined ")]
        assert f"from {requests} answers" in line and all(skill_id in line for skill_id in entered)
        assert all(f"{name} {count}" in line for name, count in problems.items())
        assert entered or "mined no skill" in line
    for decision in story.decisions:
        line = f"step {decision.step}: skill {decision.skill_id} {decision.after}: {decision.reason}"
        if decision.after == ACTIVE:
            skill = run.bank[decision.skill_id]
            line = f"{MARK}{line} | {skill.task_type}: {skill.block}"
        assert line in said
    assert sum(text.startswith(MARK) and ": phase " in text for text in said) == 2
    plans = [text for text in said if ": plan for coin: " in text]
    assert len(plans) >= len(story.mined) - 1 and any("under test: s0" in text for text in plans)


def test_a_mining_round_says_what_turned_away_answers_quoted(capsys):
    report = MiningReport(7, requests=3, problems=Counter(leak=2, duplicate=1), leaks=["id: b0k4 m7", "answer: red"])
    print_mining(report, [])
    assert capsys.readouterr().out == (
        "step 7: mined no skill from 3 answers; turned away: duplicate 1, leak 2 (quoted id: b0k4 m7; answer: red)\n"
    )


def test_without_the_gate_a_turn_that_lost_its_skill_still_teaches_nothing():
    def change(group, session, turn):
        return {"skill_missing": True} if session == 3 else {}

    run, step = one_step(change, internalization=InternalizationSettings(gate=False))
    is_open, _, _ = chosen(run, step)
    assert set(step.table.trajectory[is_open]) == {name for name in step.table.trajectory if name.endswith("_2")}


def test_self_imitation_takes_plain_turns_of_positive_advantage_up_to_the_tokens_of_the_compared_run():
    imitation = InternalizationSettings(source="self_imitation")
    control = ControlSettings(self_imitation_tokens=21)
    run, step = one_step(internalization=imitation, control=control)
    is_open, _, advantage = chosen(run, step)
    tokens = step.table.span_end - step.table.span_start
    assert 0 < tokens[is_open].sum() <= 21
    assert (advantage[is_open] > 0).all() and set(step.table.arm[is_open]) == {PLAIN}
    assert not run.mining_due(2) and not run.mining_due(1), "the control mines nothing"


def test_the_control_counts_the_tokens_it_learns():
    imitation = InternalizationSettings(source="self_imitation", span="response")
    run, step = one_step(internalization=imitation, control=ControlSettings(self_imitation_tokens=25))
    is_open, _, _ = chosen(run, step)
    assert 0 < step.table.reply_tokens[is_open].sum() <= 25
    assert (step.table.reply_tokens > step.table.span_tokens("action")).all()


@pytest.mark.parametrize("size", [1, 5])
def test_a_baseline_takes_groups_of_any_size(size):
    run = Siri(run_settings(phases=PhaseSettings(fixed=WARM_UP)), size, make_run().planner)
    assert (run.arm_plan.plain, run.arm_plan.skill) == (size, 0)


def test_arms_can_change_with_the_phase():
    run, step = one_step(arms=ArmsSettings(skill_share=0.5, internalization_skill_share=0.75))
    assert (run.arm_plan.plain, run.arm_plan.skill) == (1, 3)
    assert {effect.skill_n for effect in step.effects.values()} == {3}
    run.machine.phase = MINING
    assert (run.arm_plan.plain, run.arm_plan.skill) == (2, 2)


def test_delta_is_in_success_units_whatever_the_reward():
    _, small = one_step(reward=RewardSettings(success_reward=0.5))
    _, large = one_step()
    deltas = [sorted(e.delta for e in step.effects.values()) for step in (small, large)]
    assert deltas[0] == pytest.approx(deltas[1]) and max(map(abs, deltas[0])) <= 1


def test_a_useless_skill_is_retired_and_never_shown_again():
    run, story = make_run(run_settings(phases=PhaseSettings(fixed=MINING))), Story()
    entry = run.bank.add("a note is there", BAD, "coin", Provenance("", "", 0, "hand"))
    run.mined = 1
    run.miner.settings.every = 1000
    play(run, range(1, 6), story)
    (decision,) = [d for d in story.decisions if d.skill_id == entry.skill.skill_id]
    assert decision.after == RETIRED and entry.skill.status == RETIRED
    later = [shown for plan in story.plans[decision.step :] for _, shown in plan]
    assert later and entry.skill.skill_id not in later


def test_validation_skills_are_the_best_active_ones():
    run, _ = one_step()
    tasks = ["toy-coin-shelf-kitchen", "toy-lamp-box-attic"]
    assert run.validation_skills(tasks) == [None, None], "candidates are not shown"
    lamp = next(skill for skill in run.bank.skills.values() if skill.task_type == "lamp")
    for k in range(40):
        run.bank.record(effect(lamp.skill_id), f"t{k}", 1)
    assert lamp.status == ACTIVE
    assert run.validation_skills(tasks) == [None, lamp]


def effect(skill_id):
    from siri_verl.core.pairing import TreatmentEffect

    return TreatmentEffect("g", skill_id, 0.5, 0.75, 0.25, 2, 2, "")
