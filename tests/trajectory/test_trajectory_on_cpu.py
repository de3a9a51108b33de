# SPDX-License-Identifier: Apache-2.0
"""Files of trajectories: what is written is read, and what is damaged is named."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.trajectory.file import (
    Trajectory,
    TrajectoryFileError,
    Turn,
    append_trajectories,
    read_trajectories,
    shortened,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
NUMBER = st.none() | st.floats(-10, 10)
TURNS = st.builds(Turn, TEXT, TEXT, TEXT, NUMBER, st.booleans(), st.booleans())
TRAJECTORIES = st.builds(
    Trajectory,
    source=st.sampled_from(["training", "validation", "an evaluation"]),
    step=st.none() | st.integers(0, 5),
    task_id=TEXT,
    task=TEXT,
    turns=st.lists(TURNS, max_size=3).map(tuple),
    success=st.booleans(),
    score=NUMBER,
    session=st.integers(0, 3),
    arm=st.sampled_from(["plain", "skill"]),
    skill=TEXT,
)


def one(**more):
    return Trajectory("validation", 3, "t", "buy it", (Turn("a page", "<action>buy</action>", "buy"),), True, **more)


@settings(max_examples=60, deadline=None)
@given(st.lists(TRAJECTORIES, max_size=6), st.lists(TRAJECTORIES, max_size=6))
def test_what_is_written_is_read_and_the_last_of_a_key_counts(first, then):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        append_trajectories(path, first)
        append_trajectories(path, then)
        expected = {trajectory.key: trajectory for trajectory in [*first, *then]}
        assert {trajectory.key: trajectory for trajectory in read_trajectories(path)} == expected


def test_a_torn_line_is_passed_over_and_the_next_does_not_join_it(tmp_path):
    path = tmp_path / "t.jsonl"
    append_trajectories(path, [one()])
    with path.open("a") as file:
        file.write(one(session=1).line()[:90])
    append_trajectories(path, [one(session=2)])
    assert [trajectory.session for trajectory in read_trajectories(path)] == [0, 2]


def test_a_file_cut_at_any_byte_is_read_and_goes_on(tmp_path):
    path, more = tmp_path / "t.jsonl", Trajectory("validation", 4, "z", "ü", (), True)
    lines = [one(session=s, skill="größer \u2028 ]} \U0001f600").line().encode() + b"\n" for s in (0, 1)]
    for cut in range(sum(map(len, lines)) + 1):
        path.write_bytes(b"".join(lines)[:cut])
        whole = (cut >= len(lines[0]) - 1) + (cut >= len(lines[0] + lines[1]) - 1)
        assert [t.session for t in read_trajectories(path)] == [0, 1][:whole]
        append_trajectories(path, [more])
        ended = (cut >= len(lines[0])) + (cut >= len(lines[0] + lines[1]))
        assert path.read_bytes() == b"".join(lines[:ended]) + more.line().encode() + b"\n"


def test_files_in_which_earlier_versions_ended_a_torn_line_are_read(tmp_path):
    path, line = tmp_path / "t.jsonl", one(skill="ü", session=1).line().encode()
    for cut in range(1, len(line)):
        path.write_bytes(line[:cut] + b"\n" + one().line().encode() + b"\n")
        assert [t.session for t in read_trajectories(path)] == [0]


def changed(**values):
    record = json.loads(one().line()) | values
    return json.dumps({name: value for name, value in record.items() if value != "gone"})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (changed(version=2), "version=2, this siri_verl reads version 1"),
        (changed(record="skill"), 'expected an object with "record": "trajectory"'),
        (changed(task_id="gone", success="gone"), "lacks task_id, success"),
        (changed(turns=[{"reply": "x", "action": "x"}]), "turn 1: lacks observation"),
        (changed(turns="none"), "turns=str, expected a list"),
        ("[]", "expected an object"),
        ("no json", "not JSON"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, says):
    path = tmp_path / "t.jsonl"
    path.write_text(one().line() + "\n" + line + "\n")
    with pytest.raises(TrajectoryFileError) as caught:
        read_trajectories(path)
    assert "t.jsonl, line 2" in str(caught.value) and says in str(caught.value)


def test_fields_of_other_writers_are_no_hindrance(tmp_path):
    (tmp_path / "t.jsonl").write_text(changed(tokens=12, seed=5) + "\n")
    assert read_trajectories(tmp_path / "t.jsonl") == [one()]


def test_long_texts_say_how_much_was_cut():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdef", 4) == "abcd [2 more characters]"
