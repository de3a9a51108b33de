# SPDX-License-Identifier: Apache-2.0
"""docs/run_folder.md lists every file of a run, a checkpoint and an evaluation."""

from pathlib import Path

import pytest

from siri_verl.runs import folder

TEXT = (Path(__file__).parents[2] / "docs" / "run_folder.md").read_text(encoding="utf-8")
PLACE = Path("run")


def files():
    """Every file or folder that a property of the folders in siri_verl/runs/folder.py names."""
    for schema in (folder.RunFolder, folder.CheckpointFolder, folder.EvaluationFolder):
        for name, member in vars(schema).items():
            if isinstance(member, property):
                path = member.fget(schema(PLACE))
                if isinstance(path, Path):
                    yield pytest.param(str(path.relative_to(PLACE)), id=f"{schema.__name__}.{name}")


@pytest.mark.parametrize("name", files())
def test_every_file_is_listed(name):
    assert f"`{name}" in TEXT, f"docs/run_folder.md: describe {name}"


def test_files_with_a_name_of_their_own_are_listed():
    run = folder.RunFolder(PLACE)
    for path, written in (
        (run.checkpoint(7).path, "global_step_N/"),
        (run.evaluation("NAME").path, "eval/NAME/"),
        (run.retest("start"), "retest_*.json"),
    ):
        place = str(path.relative_to(PLACE)).replace("7", "N").replace("start", "*")
        assert place == written.rstrip("/") and f"`{written}`" in TEXT
