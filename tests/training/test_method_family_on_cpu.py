# SPDX-License-Identifier: Apache-2.0
"""Published methods beside their token term, on synthetic runs: which rows are learned, and what is kept of them."""

import numpy as np
import pytest
from support.synthetic_run import Story, make_run, play, run_settings

from siri_verl.core.pairing import PLAIN
from siri_verl.core.phases import INTERNALIZATION, PhaseSettings
from siri_verl.core.teacher_methods import vetted_settings
from siri_verl.runs.replay import PastRow
from siri_verl.settings.schema import ArmsSettings
from siri_verl.skills.retrieval import RetrievalSettings

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
