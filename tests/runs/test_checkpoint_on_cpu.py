# SPDX-License-Identifier: Apache-2.0
"""The trainer's state file inside verl's checkpoint folder."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from siri_verl.runs.checkpoint import load_state, resume_folder, save_state
from siri_verl.runs.folder import CheckpointFolder, RunFolder


def config(**trainer):
    return OmegaConf.create({"trainer": {"default_local_dir": "/runs/x", "resume_mode": "auto", **trainer}})


def test_state_survives_a_round_trip_and_a_second_save_replaces_it(tmp_path):
    folder = RunFolder(tmp_path).checkpoint(3)
    save_state(folder, {"env_steps": 5})
    save_state(folder, {"env_steps": 48, "skills": {"phase": "warm_up"}})
    state = load_state(folder)
    assert state["env_steps"] == 48 and state["skills"] == {"phase": "warm_up"}
    assert [p.name for p in folder.path.iterdir()] == ["siri_state.json"], "no temporary file is left"


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path):
    save_state(CheckpointFolder(tmp_path), {"env_steps": 5})
    with pytest.raises(TypeError):
        save_state(CheckpointFolder(tmp_path), {"env_steps": object()})
    assert load_state(CheckpointFolder(tmp_path))["env_steps"] == 5 and len(list(tmp_path.iterdir())) == 1


def test_folders_are_verls(tmp_path):
    assert str(RunFolder(Path("/runs/x")).checkpoint(7).path) == "/runs/x/global_step_7"
    assert str(resume_folder(config(), 7).path) == "/runs/x/global_step_7"
    given = config(resume_mode="resume_path", resume_from_path="/elsewhere/global_step_2")
    assert str(resume_folder(given, 2).path) == "/elsewhere/global_step_2"


def test_a_checkpoint_of_another_trainer_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="trainer_mode=siri.*resume_mode=disable"):
        load_state(CheckpointFolder(tmp_path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"version": 1, "env_st', "not readable as JSON"),
        (json.dumps({"version": 99, "env_steps": 1}), "version 99"),
        (json.dumps({"env_steps": 1}), "version None"),
        ("[]", "expected an object"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(tmp_path, content, says):
    CheckpointFolder(tmp_path).state.write_text(content)
    with pytest.raises(ValueError, match=says) as error:
        load_state(CheckpointFolder(tmp_path))
    assert "siri_state.json" in str(error.value)
