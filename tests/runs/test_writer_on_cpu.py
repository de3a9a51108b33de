# SPDX-License-Identifier: Apache-2.0
"""The run's folder: what is written in the background is there when the run ends, also when it ends with an error."""

import json
import logging

import pytest
from omegaconf import OmegaConf
from support.driver import prepare, run_config

from siri_verl.report.curve import read_curve
from siri_verl.runs.metrics import MetricsLog, read_metrics
from siri_verl.runs.writer import RunWriter
from siri_verl.trajectory.file import append_trajectories, read_trajectories
from siri_verl.trajectory.turn import Trajectory


def test_closing_waits_for_what_is_still_to_be_written(tmp_path):
    files = RunWriter(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}}), seed=1)
    for number in range(50):
        files.write_bank(f"{number}\n" * 10_000)
    files.close()
    assert (tmp_path / "skills.jsonl").read_text() == "49\n" * 10_000
    with pytest.raises(RuntimeError, match="shutdown"):
        files.write_bank("late")


def test_a_trainer_that_fails_closes_its_files(tmp_path):
    from siri_verl.training.trainer import SiriTrainer

    prepare(tmp_path)
    trainer = SiriTrainer(run_config(tmp_path, f"trainer.default_local_dir={tmp_path}/run"))
    for number in range(50):
        trainer.files.write_bank(f"{number}\n" * 10_000)
    with pytest.raises(AttributeError):  # nothing has been set up: the first validation finds no workers
        trainer.fit(None)
    assert (tmp_path / "run" / "skills.jsonl").read_text() == "49\n" * 10_000
    with pytest.raises(RuntimeError, match="shutdown"):
        trainer.files.write_bank("late")
    trainer.background.shutdown()


def earlier_run(folder, steps=(0, 1, 2, 3)):
    log, names = MetricsLog(folder / "metrics.jsonl"), ("success", "success_low", "success_high", "episodes")
    for step in steps:
        log.write("train", step, {"siri/env_steps_total": 10 * step})
        log.write("validation", step, {f"siri/val/{name}": step / 4 for name in names})
    append_trajectories(folder / "trajectories.jsonl", [kept(step) for step in (*steps, None)])


def kept(step):
    return Trajectory("validation", step, "t", "buy it", (), True)


def written(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


@pytest.mark.parametrize(("step", "left"), [(2, [0, 1, 2]), (1, [0, 1]), (0, [])])
def test_what_an_abandoned_branch_left_is_moved_and_nothing_is_lost(tmp_path, caplog, step, left):
    earlier_run(tmp_path)
    lines = {name: content.splitlines() for name, content in written(tmp_path).items()}
    files = RunWriter(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}}), seed=1)
    with caplog.at_level(logging.WARNING):
        files.set_aside_after(step)
    (told,) = caplog.messages
    gone = 4 - len(left)
    assert f"after step {step}" in told and f"{2 * gone} records to {tmp_path}/metrics.abandoned.jsonl" in told
    assert f"{gone} records to {tmp_path}/trajectories.abandoned.jsonl" in told
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl") if r["kind"] == "train"] == left
    assert [t.step for t in read_trajectories(tmp_path / "trajectories.jsonl").trajectories] == [*left, None]
    assert not left or [point.step for point in read_curve(tmp_path)] == left
    for name, before in lines.items():
        both = [tmp_path / name, tmp_path / name.replace(".jsonl", ".abandoned.jsonl")]
        assert sorted(line for path in both for line in path.read_bytes().splitlines()) == sorted(before)
    once = written(tmp_path)
    files.set_aside_after(step)
    files.close()
    assert written(tmp_path) == once, "nothing is left to move"


def test_what_is_moved_later_joins_what_was_moved_before(tmp_path):
    files = RunWriter(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}}), seed=1)
    earlier_run(tmp_path)
    files.set_aside_after(2)
    with (tmp_path / "trajectories.abandoned.jsonl").open("ab") as file:
        file.write(b'{"record": "traj')  # torn
    files.set_aside_after(1)
    files.close()
    assert [t.step for t in read_trajectories(tmp_path / "trajectories.abandoned.jsonl").trajectories] == [3, 2]


def test_a_run_without_later_records_is_left_as_it_is(tmp_path, caplog):
    earlier_run(tmp_path)
    before = {path: path.stat().st_ino for path in tmp_path.glob("*.jsonl")}
    content = written(tmp_path)
    files = RunWriter(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path)}}), seed=1)
    files.set_aside_after(3)
    files.close()
    assert written(tmp_path) == content and {path: path.stat().st_ino for path in tmp_path.glob("*.jsonl")} == before
    assert not caplog.messages


@pytest.mark.parametrize("val_only", [False, True])
def test_a_trainer_that_begins_anew_moves_what_an_earlier_run_left(tmp_path, val_only):
    from siri_verl.training.trainer import SiriTrainer

    prepare(tmp_path)
    earlier_run(tmp_path / "run")
    overrides = ["trainer.resume_mode=disable", f"trainer.val_only={val_only}"]
    trainer = SiriTrainer(run_config(tmp_path, f"trainer.default_local_dir={tmp_path}/run", *overrides))
    trainer._load_checkpoint()
    trainer.files.close()
    trainer.background.shutdown()
    moved = written(tmp_path / "run").get("metrics.abandoned.jsonl", b"").splitlines()
    assert [json.loads(line)["step"] for line in moved] == ([] if val_only else [0, 0, 1, 1, 2, 2, 3, 3])
    if val_only:  # a look at a checkpoint is no branch
        assert [point.step for point in read_curve(tmp_path / "run")] == [0, 1, 2, 3]


def test_one_process_at_a_time_writes_to_a_run(tmp_path):
    config = OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path / "run")}})
    first = RunWriter(config, seed=1)
    with pytest.raises(FileExistsError, match="another process is writing it"):
        RunWriter(config, seed=1)
    first.close()
    RunWriter(config, seed=1).close()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_validation_alone_leaves_a_finished_runs_record(tmp_path):
    def writer(**trainer):
        return RunWriter(OmegaConf.create({"trainer": {"default_local_dir": str(tmp_path), **trainer}}), seed=1)

    files = writer(save_freq=5)
    files.write_metrics("validation", 3, {"siri/val/success": 0.5})
    files.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    files = writer(val_only=True)
    files.write_metrics("validation", 3, {"siri/val/success": 1.0})
    files.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    names = {path.name for path in (tmp_path / "val_only").iterdir()}
    assert {"config.yaml", "run.json", "metrics.jsonl"} <= names
