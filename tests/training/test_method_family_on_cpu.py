# SPDX-License-Identifier: Apache-2.0
"""Published methods beside their token term, on synthetic runs: which rows are learned, and what is kept of them."""

import json

import numpy as np
import pytest
from support.synthetic_run import BAD, GOOD, IDLE, Story, make_run, play, run_settings

from siri_verl.core.curriculum import CurriculumSettings
from siri_verl.core.pairing import PLAIN, TreatmentEffect
from siri_verl.core.phases import INTERNALIZATION, MINING, PhaseSettings
from siri_verl.core.rules import UtilitySettings
from siri_verl.core.teacher_methods import vetted_settings
from siri_verl.runs.replay import PastRow
from siri_verl.settings.arms import ArmsSettings
from siri_verl.settings.writer import WriterSettings
from siri_verl.skills.mining import MiningSettings
from siri_verl.skills.retrieval import RetrievalSettings
from siri_verl.skills.skill import Provenance
from siri_verl.training.writer import WrittenReply

FIXED = PhaseSettings(fixed=INTERNALIZATION)


def spear_run():
    return make_run(run_settings(phases=FIXED, internalization=vetted_settings("spear")))


def test_spear_learns_successes_by_what_they_exceed_the_median_group():
    run, story = spear_run(), Story()
    now = play(run, range(1, 4), story)
    assert not story.mined and not any(skill for plan in story.plans for _, skill in plan), "there are no skills"
    table = now.table
    means = [mean for mean, _ in run.replay.baseline.groups]
    assert len(means) == 3 * 6
    median = float(np.median(means))
    advantage = np.where(table.turn == 1, 1.0, -1.0)
    is_open, weight = run.internalization_weights(table, now.effects, advantage, "mean", 4)
    # the groups of the step count once more, as those of a fourth step
    means += [mean for mean, _ in list(run.replay.baseline.groups)[-6:]]
    median = float(np.median(means))
    expected = (advantage > 0) & (table.trajectory_return > median)
    assert 0 < expected.sum() < len(table) and np.array_equal(is_open, expected)
    assert weight[is_open] == pytest.approx(10.0 - median)


def test_spears_replayed_rows_are_weighed_anew():
    run = spear_run()
    run.replay.baseline.add(["a", "b", "c"], [0.0, 2.0, 4.0])
    rows = [PastRow(step, [1], [2], (0, 1), (0, 1), r, [-1.0], []) for step, r in ((1, 10.0), (2, 1.0), (3, 3.0))]
    run.replay.rows = rows
    assert [(row.step, row.weight) for row in run.replay.draw(4, "mean")] == [(1, 8.0), (3, 1.0)]
    assert [row.step for row in run.replay.draw(7, "mean")] == [3], "at most five iterations old"
    run.replay.baseline.add(["d", "e"], [9.0, 9.5])
    assert [(row.step, row.weight) for row in run.replay.draw(4, "mean")] == [(1, 6.0)]
    assert run.replay.rows is rows and rows[0].weight == 10.0, "what is kept is the return"


def test_spears_baseline_is_part_of_a_checkpoint(tmp_path):
    run, other, plain = spear_run(), spear_run(), make_run()
    play(run, range(1, 3), Story())
    other.load(tmp_path, run.save(tmp_path))
    assert other.replay.baseline.groups == run.replay.baseline.groups and len(run.replay.baseline.groups) == 12
    assert "baseline" not in plain.save(tmp_path), "other methods' checkpoints are as they were"


def test_with_a_teacher_alone_all_sessions_are_plain_and_skills_are_chosen_untested():
    settings = run_settings(
        phases=FIXED,
        arms=ArmsSettings(skill_share=0.0),
        retrieval=RetrievalSettings(choice="any"),
        internalization=vetted_settings("sdar"),
    )
    run, story = make_run(settings), Story()
    now = play(run, range(1, 7), story)
    assert (run.arm_plan.plain, run.arm_plan.skill) == (4, 0)
    assert set(now.table.arm) == {PLAIN} and not story.decisions and story.mined
    shown = {skill for plan in story.plans for _, skill in plan} - {""}
    assert len(shown) > 1, "several skills of a type are in use"
    assert not any(effect.defined for effect in now.effects.values())


def test_skill0_shows_fewer_types_and_at_last_none():
    curriculum = CurriculumSettings(budgets=[3, 2, 0], stage_steps=6, measure_every=3)
    keeps = UtilitySettings(ema_alpha=0.3, n_eval=4, promote_above=0.3, retire_below=-0.99, max_groups=60)
    rare = MiningSettings(every=1000)
    run = make_run(run_settings(phases=PhaseSettings(fixed=MINING), curriculum=curriculum, utility=keeps, mining=rare))
    for kind, strategy in (("coin", GOOD), ("lamp", BAD)):
        run.bank.add("something lies in a room", strategy, kind, Provenance("", "", 0, "hand"))
    story = Story()
    play(run, range(1, 16), story)
    types = [{run.bank[skill].task_type for _, skill in plan if skill} for plan in story.plans]
    assert all(shown == {"coin", "lamp"} for shown in types[:3]), "nothing is measured yet"
    gaps = run.bank.gaps(7, curriculum)
    assert gaps["coin"] > 0 > gaps["lamp"]
    assert all(shown == {"coin"} for shown in types[3:12]), "a type whose skill hurts is left out"
    assert not any(types[12:])


def writer_run(**settings):
    writer = WriterSettings(train=True, **{"groups": 2, "warm_up_steps": 0, **settings})
    return make_run(run_settings(phases=PhaseSettings(fixed=MINING), writer=writer))


def reply(number):
    return WrittenReply([1, 2, number], [3, 4], [-0.5, -0.1])


def effects(run, skill_id, *deltas, step=1):
    for k, delta in enumerate(deltas):
        run.bank.record(TreatmentEffect("g", skill_id, delta, 0.5 + delta / 2, 0.5 - delta / 2, 2, 2), f"t{k}", step)


def test_the_writer_is_rewarded_with_the_effect_of_what_it_wrote():
    run = writer_run()
    for k, strategy in enumerate((GOOD, BAD, IDLE, "wait and see")):
        assert run.bank.add("c", strategy, "coin", Provenance("", "", 0, "policy")).skill
        run.writer.wrote({f"s{k + 1:04d}": reply(k)})
    effects(run, "s0001", 0.5)
    assert run.writer.rewarded(run.bank, 1) == [], "one of two groups"
    effects(run, "s0001", 0.7)
    effects(run, "s0002", -0.2, 0.0)
    effects(run, "s0003", 0.0, 0.2, -1.0)
    found = dict((r.prompt[2], a) for r, a in run.writer.rewarded(run.bank, 2))
    rewards = np.array([0.6, -0.1, 0.1])
    expected = (rewards - rewards.mean()) / rewards.std()
    assert [found[k] for k in range(3)] == pytest.approx(expected.tolist())
    assert list(run.writer.waiting) == ["s0004"] and run.writer.rewarded(run.bank, 3) == []


def test_the_writers_advantage_is_clipped_and_the_warm_up_only_counts_rewards():
    run = writer_run(groups=1, warm_up_steps=5)
    for k in range(12):
        run.bank.add("c", " ".join(f"word{k}{j}" for j in range(4)), f"type{k}", Provenance("", "", 0, "policy"))
        run.writer.wrote({f"s{k + 1:04d}": reply(k)})
    for k in range(11):
        effects(run, f"s{k + 1:04d}", 0.01 * (k % 2))
    assert run.writer.rewarded(run.bank, 5) == [] and len(run.writer.rewards) == 11
    effects(run, "s0012", 1.0)
    ((_, advantage),) = run.writer.rewarded(run.bank, 6)
    assert advantage == 2.0


def test_the_writers_state_is_part_of_a_checkpoint(tmp_path):
    run, other = writer_run(), writer_run()
    run.bank.add("c", GOOD, "coin", Provenance("", "", 0, "policy"))
    run.writer.wrote({"s0001": reply(1)})
    run.writer.rewards.append(0.25)
    other.load(tmp_path, json.loads(json.dumps(run.save(tmp_path))))
    assert other.writer.waiting == run.writer.waiting and list(other.writer.rewards) == [0.25]
    assert "writer" not in make_run().save(tmp_path)
