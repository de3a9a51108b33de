# SPDX-License-Identifier: Apache-2.0
"""Files of trajectories: what is written is read, and what is damaged is named."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.trajectory.file import (
    RUN,
    TrajectoryFileError,
    append_trajectories,
    header_line,
    read_trajectories,
    record_line,
    shortened,
)
from siri_verl.trajectory.turn import Reflection, Trajectory, Turn

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
NUMBER = st.none() | st.floats(-10, 10)
TURNS = st.builds(Turn, TEXT, TEXT, TEXT, NUMBER, st.booleans(), st.none() | TEXT, st.booleans())
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
    skill_text=TEXT,
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
        assert {trajectory.key: trajectory for trajectory in read_trajectories(path).trajectories} == expected


def test_a_torn_line_is_passed_over_and_the_next_does_not_join_it(tmp_path):
    path = tmp_path / "t.jsonl"
    append_trajectories(path, [one()])
    with path.open("a") as file:
        file.write(record_line(one(session=1)).decode()[:90])
    append_trajectories(path, [one(session=2)])
    assert [trajectory.session for trajectory in read_trajectories(path).trajectories] == [0, 2]


def test_a_file_cut_at_any_byte_is_read_and_goes_on(tmp_path):
    path, more = tmp_path / "t.jsonl", Trajectory("validation", 4, "z", "ü", (), True)
    header = header_line(RUN, {})
    lines = [header, *(record_line(one(session=s, skill_text="größer \u2028 ]} \U0001f600")) for s in (0, 1))]
    ends = [len(b"".join(lines[:count])) for count in (1, 2, 3)]
    for cut in range(ends[-1] + 1):
        path.write_bytes(b"".join(lines)[:cut])
        whole = sum(cut >= end - 1 for end in ends)
        assert [t.session for t in read_trajectories(path).trajectories] == [0, 1][: max(whole - 1, 0)]
        append_trajectories(path, [more])
        ended = sum(cut >= end for end in ends)
        assert path.read_bytes() == b"".join(lines[:ended] or [header]) + record_line(more)


# ---- version 1 -------------------------------------------------------------------------------------------------------

RUN_1 = (
    '{"record": "trajectory", "version": 1, "source": "validation", "step": 3, "task_id": "t", "task": "buy it", '
    '"turns": [{"observation": "a page", "reply": "<action>buy</action>", "action": "buy", "reward": 10.0, '
    '"valid": false, "admissible": true}], "success": true, "score": 0.5, "category": "bath", "session": 1, '
    '"arm": "skill", "skill_id": "s0001", "skill": "When ü: buy", "status": "terminated"}'
)
EVALUATION_1 = [
    '{"record": "header", "schema": "siri_verl.trajectories", "version": 1, "settings": {"seed": 4}}',
    '{"record": "episode", "task_id": "t", "repetition": 2, "trial": 1, "env_seed": 5, "task": "buy it", '
    '"category": "", "task_type": "coin", "skill_id": "s0003", "skill_missing": true, "success": false, '
    '"score": 0.0, "status": "truncated", "turns": [{"observation": "a hall", "reply": "go", "action": "", '
    '"problem": "no_action_tags", "admissible": false, "prompt_tokens": 10, "reply_tokens": null, '
    '"history_dropped": 1}], "final_observation": "over"}',
    '{"record": "reflection", "task_id": "t", "repetition": 2, "trial": 1, "text": "look", "prompt_tokens": null, '
    '"reply_tokens": 3}',
]


def test_a_run_of_version_1_is_read_and_goes_on(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text(RUN_1 + "\n")
    append_trajectories(path, [one()])
    found = read_trajectories(path, RUN)
    turn = Turn("a page", "<action>buy</action>", "buy", 10.0, valid=False)
    old = Trajectory(
        "validation", 3, "t", "buy it", (turn,), True, 0.5, "bath", session=1, arm="skill", skill_id="s0001",
        skill_text="When ü: buy", status="terminated",
    )  # fmt: skip
    assert found.kind == RUN and found.trajectories == [old, one()]


def test_an_evaluation_of_version_1_is_read(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(EVALUATION_1) + "\n")
    found = read_trajectories(path, "evaluation")
    turn = Turn("a hall", "go", "", None, False, "no_action_tags", False, 10, None, 1)
    (old,) = found.trajectories
    assert old == Trajectory(
        "evaluation", None, "t", "buy it", (turn,), False, 0.0, task_type="coin", session=2, env_seed=5, arm="skill",
        skill_id="s0003", skill_missing=True, status="truncated", final_observation="over",
    )  # fmt: skip
    assert found.settings == {"seed": 4} and found.reflections == [Reflection("t", 2, 1, "look", None, 3)]


def test_files_in_which_earlier_versions_ended_a_torn_line_are_read(tmp_path):
    path, line = tmp_path / "t.jsonl", RUN_1.encode()
    for cut in range(1, len(line)):
        path.write_bytes(line[:cut] + b"\n" + record_line(one()))
        assert [t.session for t in read_trajectories(path).trajectories] == [0]


def changed(**values):
    record = json.loads(record_line(one())) | values
    return json.dumps({name: value for name, value in record.items() if value != "gone"})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (changed(version=3), "version is 3; this siri_verl reads 1 and 2"),
        (changed(record="skill"), "\"record\" is 'skill'; known: trajectory, reflection"),
        (changed(task_id="gone", success="gone"), "lacks task_id, success"),
        (changed(turns=[{"reply": "x", "action": "x"}]), "turn 1: lacks observation"),
        (changed(turns="none"), "turns is str; expected a list"),
        ("[]", "expected an object"),
        ("no json", "not JSON"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, says):
    path = tmp_path / "t.jsonl"
    path.write_text(record_line(one()).decode() + line + "\n")
    with pytest.raises(TrajectoryFileError) as caught:
        read_trajectories(path)
    assert "t.jsonl, line 2" in str(caught.value) and says in str(caught.value)


def test_fields_of_other_writers_are_no_hindrance(tmp_path):
    (tmp_path / "t.jsonl").write_text(changed(tokens=12, seed=5) + "\n")
    assert read_trajectories(tmp_path / "t.jsonl").trajectories == [one()]


def test_long_texts_say_how_much_was_cut():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdef", 4) == "abcd [2 more characters]"
