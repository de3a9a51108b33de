# SPDX-License-Identifier: Apache-2.0
"""The file of trajectories: whole lines, one writer, nothing damaged goes unnoticed."""

import json
import os
import subprocess
import sys

import pytest
from support.evaluation_records import episode

from siri_verl.evaluation.log import TrajectoryLog
from siri_verl.report.browser import read
from siri_verl.trajectory.file import TrajectoryFileError, read_trajectories
from siri_verl.trajectory.turn import Reflection

SETTINGS = {"seed": 1, "sampling": {"temperature": 0.4}, "bank": None}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "trajectories.jsonl"
    log = TrajectoryLog(path, SETTINGS)
    log.append(episode())
    log.append(episode(session=1, success=False, score=0.5))
    log.close()
    return path


def test_what_is_written_is_read_back(path):
    found = read_trajectories(path)
    assert found.settings == SETTINGS and [t.session for t in found.trajectories] == [0, 1]
    assert found.trajectories[0] == episode(task="go \u2028 \ufffd on"), "half a character cannot be written"
    log = TrajectoryLog(path, SETTINGS)
    assert log.trajectories["t1", 1, 1].score == 0.5 and ("t2", 0, 1) not in log.trajectories
    reflection = Reflection("t1", 1, 1, "look first", 9, None)
    log.append(episode("t2"))
    log.append(reflection)
    log.close()
    assert len(read_trajectories(path).trajectories) == 3 and read_trajectories(path).reflections == [reflection]
    log = TrajectoryLog(path, SETTINGS)
    assert log.reflections["t1", 1, 1] == reflection
    log.close()


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_line_is_cut_and_its_episode_is_missing(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    log = TrajectoryLog(path, SETTINGS)
    assert [t.session for t in log.trajectories.values()] == [0]
    log.append(episode(session=1))
    log.close()
    assert len(read_trajectories(path).trajectories) == 2


def test_a_reader_passes_a_torn_last_line_over_at_every_byte(path):
    content = path.read_bytes()
    first, second, third = (len(line) for line in content.splitlines(keepends=True))
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        episodes = (cut >= first + second - 1) + (cut >= first + second + third - 1)
        assert [t.session for t in read(path)] == [0, 1][:episodes]


def test_a_torn_header_begins_anew(path):
    path.write_bytes(path.read_bytes()[:30])
    log = TrajectoryLog(path, {"seed": 9})
    log.close()
    assert read_trajectories(path).settings == {"seed": 9} and not read_trajectories(path).trajectories


def test_a_changed_setting_is_named(path):
    for settings, message in (
        ({**SETTINGS, "seed": 2}, "seed=1, now it is 2"),
        ({**SETTINGS, "sampling": {"temperature": 1.0}}, "sampling.temperature=0.4, now it is 1.0"),
        ({**SETTINGS, "bank": {"sha256": "x"}}, "bank.sha256=not set, now it is 'x'"),
    ):
        with pytest.raises(TrajectoryFileError, match=message):
            TrajectoryLog(path, settings)
    TrajectoryLog(path, SETTINGS).close()


def test_one_process_writes_at_a_time(path):
    log = TrajectoryLog(path, SETTINGS)
    with pytest.raises(TrajectoryFileError, match="another evaluation is writing"):
        TrajectoryLog(path, SETTINGS)
    log.close()
    TrajectoryLog(path, SETTINGS).close()


def test_a_killed_writer_leaves_whole_lines_and_no_lock(path):
    """A process that writes without end is killed; what it left can be gone on with."""
    code = (
        "import json, sys; from pathlib import Path; from siri_verl.evaluation.log import TrajectoryLog\n"
        "from support.evaluation_records import episode\n"
        "log = TrajectoryLog(Path(sys.argv[1]), json.loads(sys.argv[2])); number = 10\n"
        "while True:\n"
        "    log.append(episode(session=number, task='x' * 5000)); number += 1\n"
        "    if number == 40: print('many', flush=True)\n"
    )
    arguments = [sys.executable, "-c", code, str(path), json.dumps(SETTINGS)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=env)
    assert writer.stdout.readline() == b"many\n"
    writer.kill()
    writer.wait()
    log = TrajectoryLog(path, SETTINGS)
    numbers = [t.session for t in log.trajectories.values()]
    log.close()
    assert numbers[:2] == [0, 1]
    assert numbers[2:] == list(range(10, 8 + len(numbers)))
    assert len(numbers) >= 32


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda lines: [lines[0], b"not json\n", *lines[2:]], "line 2: not JSON"),
        (lambda lines: [lines[0], b"7\n"], "line 2: '7' is no record"),
        (lambda lines: lines[1:], "line 1: no header"),
        (lambda lines: [lines[0].replace(b"evaluation", b"run")], "line 1: no header of .*, kind evaluation"),
        (lambda lines: [lines[0].replace(b'"version": 2', b'"version": 3')], "version is 3"),
        (lambda lines: [lines[0], lines[1].replace(b'"task_id"', b'"id"')], "line 2: lacks task_id"),
        (
            lambda lines: [lines[0], lines[1].replace(b'"success": true', b'"success": 1')],
            "success is 1; expected bool",
        ),
        (lambda lines: [lines[0], lines[1].replace(b'"score": 1.0', b'"score": true')], "score is True"),
        (
            lambda lines: [lines[0], lines[1].replace(b'"reply_tokens": 4', b'"reply_tokens": "4"')],
            "turn 1: reply_tokens",
        ),
        (lambda lines: [lines[0], lines[1].replace(b'"observation"', b'"seen"')], "turn 1: lacks observation"),
        (lambda lines: [lines[0], lines[1].replace(b'"trajectory"', b'"episodes"')], "is 'episodes'; known"),
    ],
)
def test_damage_is_named(path, damage, message):
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(TrajectoryFileError, match=message):
        TrajectoryLog(path, SETTINGS)


def test_a_file_without_episodes_takes_other_settings(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    for seed in (1, 2):
        TrajectoryLog(path, {"seed": seed}).close()
        assert read_trajectories(path).settings == {"seed": seed} and not read_trajectories(path).trajectories
    with path.open("a") as file:
        file.write('{"record": "trajectory", "task_id": "torn')
    log = TrajectoryLog(path, {"seed": 3})
    log.append(episode())
    log.close()
    assert read_trajectories(path).settings == {"seed": 3} and path.read_bytes().count(b"\n") == 2
    before = path.read_bytes()
    with pytest.raises(TrajectoryFileError, match="seed=3, now it is 4"):
        TrajectoryLog(path, {"seed": 4})
    assert path.read_bytes() == before


def test_a_server_may_move_but_not_change_its_model(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    log = TrajectoryLog(path, {"model": {"name": "m", "endpoint": "http://here:8000/v1"}})
    log.append(episode())
    log.close()
    moved = "http://there:8001/v1"
    log = TrajectoryLog(path, {"model": {"name": "m", "endpoint": moved}})
    assert len(log.trajectories) == 1
    log.close()
    with pytest.raises(TrajectoryFileError, match="model.name='m', now it is 'other'"):
        TrajectoryLog(path, {"model": {"name": "other", "endpoint": moved}})
    with pytest.raises(TrajectoryFileError, match="model.endpoint"):
        TrajectoryLog(path, {"model": {"name": "m"}})
