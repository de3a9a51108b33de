# SPDX-License-Identifier: Apache-2.0
"""A run's pictures: they show the numbers of the run, and nothing where there is nothing to show."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from support.skill_status import decide
from support.story_run import TYPES, simulate

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.core.rules import ACTIVE
from siri_verl.report import run_pictures
from siri_verl.report.pictures import rolling, rolling_interval
from siri_verl.report.reader import read_run
from siri_verl.report.run_pictures import draw_census, draw_delta, draw_gate, draw_success, story_pictures
from siri_verl.report.type_pictures import MOST_TYPES, _apart, draw_arms, draw_utility
from siri_verl.report.words import describe
from siri_verl.runs.metrics import MetricsLog
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    simulate(folder, steps=60)
    return read_run(folder)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def lines(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def labels(figure):
    handles = [handle for axis in figure.axes for handle in axis.get_legend_handles_labels()[1]]
    return {*handles, *(text.get_text() for legend in figure.legends for text in legend.get_texts())}


def test_internalized_skills_have_a_colour_and_a_name_of_their_own(tmp_path):
    simulate(tmp_path, steps=40)
    run = read_run(tmp_path)
    skill = next(skill for skill in run.bank.skills.values() if skill.status == ACTIVE)
    decide(run.bank, skill.skill_id, "internalized")
    run.train[40]["siri/bank/internalized"] = 1.0
    assert "internalized" in labels(draw_census(run)) & labels(draw_utility(run)) & labels(draw_arms(run))
    assert "1 ended as internalized" in describe(run) and "internalized at step 1" in describe(run)


def phases_on(axis):
    return {text.get_text() for text in axis.texts}


def test_success_shows_both_arms_and_validation_over_shaded_phases(story):
    (axis,) = draw_success(story).axes
    assert phases_on(axis) == {"warm-up", "mining", "internalization"}
    plain = lines(axis)["plain arm, training: mean of 5 steps"]
    assert len(plain.get_xdata()) == 60
    assert len(lines(axis)["skill arm, training: mean of 5 steps"].get_xdata()) == len(
        story.series("siri/success_skill_arm")
    )
    (validation,) = axis.containers
    np.testing.assert_array_equal(validation[0].get_ydata(), story.series("siri/val/success", "validation").values)
    shaded = [patch for patch in axis.patches if patch.get_width() > 0]
    assert [patch.get_x() for patch in shaded] == [span.first - 0.5 for span in story.spans]


def test_utility_shows_every_tested_skill_and_marks_every_decision(story):
    figure = draw_utility(story)
    assert [axis.get_title() for axis in figure.axes] == sorted(TYPES)
    for axis in figure.axes:
        members = [s for s in story.bank.skills.values() if s.task_type == axis.get_title()]
        tested = [s for s in members if s.evidence]
        assert len(axis.get_lines()) == len(tested) + 2, "and the lines at 0 and at the threshold"
        marks = [tuple(c.get_offsets()[0]) for c in axis.collections if len(c.get_offsets())]
        assert sorted(x for x, _ in marks) == sorted(d.step for s in members for d in s.decisions)
        promoted = {s.skill_id for s in members if any(d.after == ACTIVE for d in s.decisions)}
        assert {text.get_text() for text in axis.texts} == promoted


def test_delta_shows_every_group(story):
    axis, side = draw_delta(story).axes
    dots = axis.collections[0]
    assert dots.get_sizes().sum() == pytest.approx(14 * len(story.evidence))
    shown = {(int(x), round(float(y), 3)) for x, y in dots.get_offsets()}
    assert shown == {(e.step, round(e.delta, 3)) for _, e in story.evidence}
    for container in side.containers:
        assert sum(bar.get_width() for bar in container) == pytest.approx(1)
    assert len(side.containers) == 2


def test_gate_shows_counts_lambda_and_the_log_probs_of_deciding_tokens(story):
    turns, tokens, known, beside = draw_gate(story).axes
    for container, name in zip(tokens.containers, ("tokens_gated", "deciding_tokens"), strict=True):
        values = story.series(f"siri/internalization/{name}").values
        assert [bar.get_height() for bar in container] == values.tolist()
    assert len(turns.containers) == 2 and beside.get_ylabel() == "lambda"
    for prompt in ("plain", "skill"):
        values = story.series(f"siri/internalization/deciding_{prompt}_log_prob_mean").values
        mean = lines(known)[f"deciding tokens, {prompt} prompt (mean of 5 steps)"].get_ydata()
        np.testing.assert_allclose(mean, rolling(values))
    assert known.get_ylim()[0] < values.min()


def test_a_run_that_logged_no_deciding_tokens_shows_the_mean_of_all(story):
    prefix = "siri/internalization/deciding"
    train = {step: {n: v for n, v in m.items() if not n.startswith(prefix)} for step, m in story.train.items()}
    _, tokens, known, _ = draw_gate(replace(story, train=train)).axes
    assert len(tokens.containers) == 1
    assert "all learned tokens, plain prompt (mean of 5 steps)" in lines(known)


def test_census_stacks_the_bank(story):
    axis, share = draw_census(story).axes
    top = max(path.vertices[:, 1].max() for c in axis.collections for path in c.get_paths())
    assert top == len(story.bank)
    assert share.get_lines()[0].get_ydata()[-1] == story.train[60]["siri/bank/active_types"] / 6


def test_arms_show_what_changed_where(story):
    figure = draw_arms(story)
    for axis in figure.axes:
        plain, skill = axis.get_lines()[:2]
        (validation,) = (container[0] for container in axis.containers)
        groups = [e for s, e in story.evidence if s.task_type == axis.get_title()]
        assert list(plain.get_xdata()) == list(skill.get_xdata()) == sorted({e.step for e in groups})
        assert plain.get_ydata()[-1] == pytest.approx(np.mean([e.plain_mean for e in groups[-10:]]))
        np.testing.assert_array_equal(validation.get_ydata(), story.validation_of(axis.get_title()).values)


def test_a_run_without_skills_has_its_success_alone(tmp_path):
    simulate(tmp_path, steps=8, skills=False)
    written = story_pictures(read_run(tmp_path), tmp_path / "p")
    assert [path.name for path in written.values()] == ["success.png"]
    MetricsLog(tmp_path / "bare" / "metrics.jsonl").write("train", 1, {"actor/loss": 0.5})
    assert [p.name for p in story_pictures(read_run(tmp_path / "bare"), tmp_path / "q").values()] == ["success.png"]


def test_all_pictures_are_written_and_none_stays_open(story, tmp_path):
    written = story_pictures(story, tmp_path / "pictures")
    assert {path.stem for path in written.values()} == set(run_pictures.STORY)
    for path in written.values():
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
    assert not plt.get_fignums()


def test_many_task_types_are_cut_to_the_busiest_and_odd_names_are_drawn(tmp_path):
    bank = SkillBank()
    for i in range(MOST_TYPES + 3):
        skill = bank.add("c", f"do {i}", f"type $x_{i}$ é", Provenance("t", "r", 1)).skill
        for k in range(1 + i):
            bank.record(TreatmentEffect("g", skill.skill_id, 0.25, 0.5, 0.25, 4, 4), f"t{k}", 2 + k)
    save_bank(bank, tmp_path / "skills.jsonl")
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in range(1, 20):
        log.write("train", step, {"siri/phase": 1})
    story = read_run(tmp_path)
    for draw in (draw_utility, draw_arms):
        figure = draw(story)
        assert f"({MOST_TYPES} of {MOST_TYPES + 3} task types)" in figure.get_suptitle()
        names = {axis.get_title() for axis in figure.axes if axis.get_visible()}
        assert len(names) == MOST_TYPES and not any("x_2" in name for name in names), "the least tested are left out"
        figure.savefig(tmp_path / "x.png")


@given(st.lists(arrays(float, st.integers(1, 9), elements=st.floats(-1, 1)), min_size=1, max_size=5))
def test_intervals_of_windows_are_students_and_stay_within_the_bounds(windows):
    mean, low, high = rolling_interval(windows, (-1.0, 1.0))
    for i, values in enumerate(windows):
        assert mean[i] == pytest.approx(values.mean())
        if len(values) == 1:
            assert np.isnan(low[i]) and np.isnan(high[i])
            continue
        assert -1 <= low[i] <= mean[i] + 1e-9 and mean[i] - 1e-9 <= high[i] <= 1
        error = stats.sem(values)
        if error > 1e-9:
            expected = stats.t.interval(0.95, len(values) - 1, values.mean(), error)
            assert (low[i], high[i]) == pytest.approx(np.clip(expected, -1, 1))


@given(st.lists(st.floats(0, 1), max_size=10))
def test_names_beside_a_picture_keep_their_order_and_distance(heights):
    placed = _apart(sorted(heights), 0.075)
    assert all(b - a >= 0.075 - 1e-9 for a, b in zip(placed, placed[1:], strict=False))
    assert not placed or (placed[-1] <= 1 + 1e-9 and placed[0] >= -1e-9)


@given(arrays(float, st.integers(1, 30), elements=st.floats(-1, 1)), st.integers(1, 8))
def test_rolling_means(values, window):
    expected = [np.mean(values[max(0, i - window + 1) : i + 1]) for i in range(len(values))]
    np.testing.assert_allclose(rolling(values, window), expected, atol=1e-9)
