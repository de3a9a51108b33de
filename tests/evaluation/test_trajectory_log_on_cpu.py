# SPDX-License-Identifier: Apache-2.0
"""The file of trajectories: whole lines, one writer, nothing damaged goes unnoticed."""

import json
import os
import subprocess
import sys

import pytest
from support.evaluation_records import TURN, episode

from siri_verl.evaluation.log import EPISODE, FIELDS, TrajectoryFileError, TrajectoryLog, read_trajectories
from siri_verl.report.browser import read_any

SETTINGS = {"seed": 1, "sampling": {"temperature": 0.4}, "bank": None}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "trajectories.jsonl"
    log = TrajectoryLog(path, SETTINGS)
    log.append(episode())
    log.append(episode(repetition=1, success=False, score=0.5))
    log.close()
    return path


def test_what_is_written_is_read_back(path):
    settings, records = read_trajectories(path)
    assert settings == SETTINGS and [r["repetition"] for r in records] == [0, 1]
    assert records[0] == episode(task="go \u2028 ? on"), "half a character cannot be written"
    log = TrajectoryLog(path, SETTINGS)
    assert log.get(EPISODE, "t1", 1, 1)["score"] == 0.5 and log.get(EPISODE, "t2", 0, 1) is None
    log.append(episode("t2"))
    log.close()
    assert len(read_trajectories(path)[1]) == 3


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_line_is_cut_and_its_episode_is_missing(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    log = TrajectoryLog(path, SETTINGS)
    assert [r["repetition"] for r in log.episodes()] == [0]
    log.append(episode(repetition=1))
    log.close()
    assert len(read_trajectories(path)[1]) == 2


def test_a_reader_passes_a_torn_last_line_over_at_every_byte(path):
    content = path.read_bytes()
    first, second, third = (len(line) for line in content.splitlines(keepends=True))
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        episodes = (cut >= first + second - 1) + (cut >= first + second + third - 1)
        assert [t.session for t in read_any(path)] == [0, 1][:episodes]
        if cut >= first:
            assert len(read_trajectories(path)[1]) == episodes


def test_a_torn_header_begins_anew(path):
    path.write_bytes(path.read_bytes()[:30])
    log = TrajectoryLog(path, {"seed": 9})
    log.close()
    assert read_trajectories(path) == ({"seed": 9}, [])


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
        "import sys; from siri_verl.evaluation.log import TrajectoryLog\n"
        "import json; log = TrajectoryLog(__import__('pathlib').Path(sys.argv[1]), json.loads(sys.argv[2]))\n"
        "record = json.loads(sys.argv[3]); number = 10\n"
        "while True:\n"
        "    log.append({**record, 'repetition': number}); number += 1\n"
        "    if number == 40: print('many', flush=True)\n"
    )
    record = json.dumps(episode(task="x" * 5000))
    arguments = [sys.executable, "-c", code, str(path), json.dumps(SETTINGS), record]
    writer = subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert writer.stdout.readline() == b"many\n"
    writer.kill()
    writer.wait()
    log = TrajectoryLog(path, SETTINGS)
    numbers = [r["repetition"] for r in log.episodes()]
    log.close()
    assert numbers[:2] == [0, 1]
    assert numbers[2:] == list(range(10, 8 + len(numbers)))
    assert len(numbers) >= 32


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(success=1), "line 4: success is 1; expected bool"),
        (dict(score=True), "score is True"),
        (dict(extra=1), "fields are .*extra"),
        (dict(turns=[{**TURN, "reply_tokens": "4"}]), "turn 1: reply_tokens is '4'"),
        (dict(turns=[{"observation": "x"}]), "turn 1: fields are"),
        (dict(record="episodes"), "record is 'episodes'"),
    ],
)
def test_records_have_their_fields(path, change, message):
    log = TrajectoryLog(path, SETTINGS)
    before = path.read_bytes()
    with pytest.raises(TrajectoryFileError, match=message):
        log.append(episode(repetition=7, **change))
    log.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda lines: [lines[0], b"not json\n", *lines[2:]], "line 2: not JSON"),
        (lambda lines: [lines[0], b"7\n"], "line 2: '7' is no record"),
        (lambda lines: lines[1:], "line 1: no header"),
        (lambda lines: [lines[0].replace(b'"version": 1', b'"version": 2')], "version is 2"),
        (lambda lines: [lines[0], lines[1].replace(b'"task_id"', b'"task"')], "line 2: fields are"),
    ],
)
def test_damage_is_named(path, damage, message):
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(TrajectoryFileError, match=message):
        TrajectoryLog(path, SETTINGS)


def test_the_example_has_every_field():
    assert set(episode()) - {"record"} == set(FIELDS[EPISODE])


def test_a_file_without_episodes_takes_other_settings(tmp_path):
    path = tmp_path / "trajectories.jsonl"
    for seed in (1, 2):
        TrajectoryLog(path, {"seed": seed}).close()
        assert read_trajectories(path) == ({"seed": seed}, [])
    with path.open("a") as file:
        file.write('{"record": "episode", "task_id": "torn')
    log = TrajectoryLog(path, {"seed": 3})
    log.append(episode())
    log.close()
    assert read_trajectories(path)[0] == {"seed": 3} and path.read_bytes().count(b"\n") == 2
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
    assert len(log.episodes()) == 1
    log.close()
    with pytest.raises(TrajectoryFileError, match="model.name='m', now it is 'other'"):
        TrajectoryLog(path, {"model": {"name": "other", "endpoint": moved}})
    with pytest.raises(TrajectoryFileError, match="model.endpoint"):
        TrajectoryLog(path, {"model": {"name": "m"}})
