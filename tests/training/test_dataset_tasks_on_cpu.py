# SPDX-License-Identifier: Apache-2.0
"""Tasks of a pipeline whose own loop plays the dataset's rows."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.settings.read import siri_settings
from siri_verl.skills.skill import Provenance, Skill
from siri_verl.training.dataset_tasks import dataset_tasks
from siri_verl.training.planner import DatasetPlanner


def user(text):
    return [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]


def run(tmp_path, train, validation):
    for name, rows in (("train", train), ("val", validation)):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    return OmegaConf.create({"data": {f"{n}_files": str(tmp_path / f"{n}.parquet") for n in ("train", "val")}})


GOOD = [{"task_id": "a", "prompt": user("add 1 and 2")}, {"task_id": "b", "prompt": user("add 2 and 2")}]
OTHER = [{"task_id": "c", "prompt": user("add 3 and 2")}]


def test_texts_are_the_last_user_message_or_the_task_column(tmp_path):
    tasks = dataset_tasks(run(tmp_path, GOOD, OTHER))
    assert tasks.train == {"a": "add 1 and 2", "b": "add 2 and 2"} and tasks.all["c"] == "add 3 and 2"
    named = [row | {"task": f"task {row['task_id']}"} for row in GOOD]
    assert dataset_tasks(run(tmp_path, named, OTHER)).train["a"] == "task a"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([{"prompt": user("x")}], "data.train_files='.*train.parquet': column 'task_id' is missing .found prompt"),
        ([{"task_id": "", "prompt": user("x")}], "row 0 has task_id=''; expected a non-empty text"),
        ([{"task_id": "a", "prompt": user(" ")}], "row 0 .'a'. has no task text in column 'prompt'"),
        ([*GOOD, {"task_id": "a", "prompt": user("x")}], "task 'a' occurs twice with different texts"),
        ([{"task_id": "c", "prompt": user("x")}], "1 task.s. are in data.train_files too, for example 'c'"),
        ([{"task_id": "a", "question": "x"}], "has neither a column 'task' nor 'prompt'"),
    ],
)
def test_files_that_name_no_tasks_are_refused(tmp_path, train, message):
    with pytest.raises(ConfigError, match=message):
        dataset_tasks(run(tmp_path, train, OTHER))


def test_missing_and_unreadable_files_are_named(tmp_path):
    config = run(tmp_path, GOOD, OTHER)
    (tmp_path / "val.parquet").write_text("x")
    with pytest.raises(ConfigError, match="data.val_files=.*not readable as parquet"):
        dataset_tasks(config)
    config.data.train_files = str(tmp_path / "none.parquet")
    with pytest.raises(ConfigError, match="none.parquet': no such file"):
        dataset_tasks(config)


def test_groups_are_planned_from_the_tasks_texts():
    skill = Skill("s1", "adding", "count up", "adding", Provenance("", "", 0, "hand"))
    planner = DatasetPlanner({"a": "add 1", "b": "sing"}, lambda text: "adding" if "add" in text else "other")
    groups = planner.plan(["b", "a"], 4, lambda kind, task: skill if kind == "adding" else None)
    assert [(g.task_id, g.task_type, g.skill) for g in groups] == [("b", "other", None), ("a", "adding", skill)]


def test_the_setting_is_checked():
    with pytest.raises(ConfigError, match="siri.tasks='files': use one of environment, dataset"):
        siri_settings(OmegaConf.create({"siri": {"tasks": "files"}}))
