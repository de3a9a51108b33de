# SPDX-License-Identifier: Apache-2.0
"""Panels divided into tasks to train on and tasks held out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.holdout import divide
from siri_verl.envs.panels import Panel, PanelError, check_disjoint

TASKS = tuple(f"task {number}" for number in range(2000))


@given(st.floats(0.05, 0.95), st.integers(0, 2**40))
def test_two_disjoint_panels_hold_every_task_in_its_order(share, seed):
    panel = Panel("toy", TASKS, {"a": 1}, "all")
    rest, held_out = divide(panel, share, seed)
    check_disjoint(rest, held_out)
    assert sorted((*rest.task_ids, *held_out.task_ids)) == sorted(TASKS)
    for part, name in ((rest, "all/rest"), (held_out, "all/holdout")):
        assert list(part.task_ids) == [task for task in TASKS if task in set(part.task_ids)]
        assert part.env_kwargs == {"a": 1} and part.split == name
    assert abs(len(held_out.task_ids) / len(TASKS) - share) < 0.06


@given(st.integers(0, 2**40))
def test_a_task_keeps_its_side_when_tasks_are_added(seed):
    few, many = (divide(Panel("toy", TASKS[:count]), 0.3, seed)[1] for count in (500, 2000))
    assert set(few.task_ids) == set(many.task_ids) & set(TASKS[:500])


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_divides_nothing_is_refused(share):
    with pytest.raises(PanelError, match="holdout: the share is"):
        divide(Panel("toy", TASKS), share, 0)


def test_a_side_that_stays_empty_is_refused():
    with pytest.raises(PanelError, match="leaves one side empty with seed 0"):
        divide(Panel("toy", TASKS[:1]), 0.5, 0)


def data_panel(*words, code=0):
    done = CliRunner().invoke(app, ["data", "panel", "toy", *map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_writes_both_or_neither(tmp_path):
    out, held_out = tmp_path / "train.parquet", tmp_path / "train_holdout.parquet"
    data_panel("--out", out, "--holdout", 0.25)
    rest, held = Panel.read(out), Panel.read(held_out)
    check_disjoint(rest, held)
    whole = tmp_path / "whole.parquet"
    data_panel("--out", whole)
    assert {*rest.task_ids, *held.task_ids} == set(Panel.read(whole).task_ids)
    data_panel("--out", out, "--holdout", 0.25)  # the same again

    other = tmp_path / "other.parquet"
    (tmp_path / "other_holdout.parquet").write_text("mine")
    data_panel("--out", other, "--holdout", 0.25, code=1)
    assert not other.exists() and (tmp_path / "other_holdout.parquet").read_text() == "mine"
