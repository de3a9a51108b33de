# SPDX-License-Identifier: Apache-2.0
"""What made a run, on disk. The command inside a Ray worker is looked at by tests/e2e."""

import json
import subprocess

import pytest

from siri_verl.runs import record as run_record
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.record import RunRecordError, add_start, read_starts, source_commit


def test_every_start_is_kept(tmp_path):
    assert read_starts(tmp_path) == []
    first, second = add_start(tmp_path, 7), add_start(tmp_path, 7)
    assert read_starts(tmp_path) == [first, second]
    assert first["seed"] == 7
    assert first["command"]
    assert first["machine"]["cores"] >= 1
    assert first["versions"]["verl"] and "python" in first["versions"]
    assert json.loads(RunFolder(tmp_path).record.read_text())["version"] == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 1}'])
def test_a_damaged_record_is_named(tmp_path, text):
    RunFolder(tmp_path).record.write_text(text)
    with pytest.raises(RunRecordError, match=r"run\.json: no record of a run.*move it away"):
        read_starts(tmp_path)


def test_another_version_is_refused(tmp_path):
    RunFolder(tmp_path).record.write_text('{"version": 9, "starts": []}')
    with pytest.raises(RunRecordError, match="version=9, this siri_verl reads version 1"):
        read_starts(tmp_path)


def test_the_commit_is_that_of_the_checkout_and_says_when_it_was_changed(tmp_path):
    assert source_commit(tmp_path) is None

    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "--no-verify", "-m", "a")
    commit = source_commit(tmp_path / "package")
    assert len(commit) == 12 and set(commit) <= set("0123456789abcdef")
    (tmp_path / "package" / "a.py").write_text("a = 2\n")
    assert source_commit(tmp_path / "package") == f"{commit}+changes"
    (tmp_path / "below").mkdir()
    assert source_commit(tmp_path / "below") is None, "not under version control"


def test_without_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_record.source_commit(tmp_path) is None
