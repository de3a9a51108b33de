# SPDX-License-Identifier: Apache-2.0
"""Tasks that cannot be played cost an evaluation or a re-test their own episodes."""

import json

import pytest
from support.bad_tasks import NAME, BadTasksEnv
from support.oracle import oracle
from support.toy_policy import ToyPolicy
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.panels import Panel
from siri_verl.envs.registry import make_environment
from siri_verl.evaluation.agents import TokenAgent
from siri_verl.evaluation.episodes import EpisodePlayer
from siri_verl.evaluation.tasks import task_types
from siri_verl.trajectory.episode import EpisodePlan
from siri_verl.trajectory.failed_tasks import FailedTasks, FailedTasksError
from siri_verl.trajectory.file import read_trajectories
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings

RIGHT = "<think>I know the way.</think><action>go right</action>"
FAULTS = {"t2": "reset", "t3": "step", "t5": "exit"}


@pytest.fixture(scope="module")
def address():
    with oracle(RIGHT) as found:
        yield found


def evaluate(address, out, bad, *more, code=0):
    words = ["eval", "oracle", "--endpoint", address, "--env", NAME, "--task-type", "single", "--out", str(out)]
    result = CliRunner().invoke(app, [*words, "--set", f"bad={json.dumps(bad)}", *more], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("prompting", ["plain", "reflexion"])
def test_an_evaluation_names_them_and_plays_the_rest(address, tmp_path, prompting):
    text = evaluate(address, tmp_path, FAULTS, "--prompting", prompting)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["failed_tasks"] == {
        "t2": "ValueError: this task's file is damaged",
        "t3": "RuntimeError: no such room",
        "t5": "SystemExit: 3",
    }
    assert (summary["tasks"], summary["success"]["mean"]) == (9, 1.0)
    assert "3 task(s) cannot be played and do not count: t2: ValueError: this task's file is damaged" in text


def test_it_goes_on_once_they_are_mended(address, tmp_path, monkeypatch):
    evaluate(address, tmp_path, {"t2": "reset"})
    before = (tmp_path / "trajectories.jsonl").read_bytes()
    evaluate(address, tmp_path, {"t2": "reset"})
    assert (tmp_path / "trajectories.jsonl").read_bytes() == before
    monkeypatch.setattr(BadTasksEnv, "mended", True)
    evaluate(address, tmp_path, {"t2": "reset"})
    assert (tmp_path / "trajectories.jsonl").read_bytes().startswith(before)
    assert len(read_trajectories(tmp_path / "trajectories.jsonl").trajectories) == 12


def test_many_of_them_stop_it_with_the_reason(address, tmp_path):
    bad = {f"t{k}": "reset" for k in range(7)}
    text = " ".join(evaluate(address, tmp_path, bad, code=1).split())
    assert "cannot be played (--max-failed-task-share=0.5): t0: ValueError: this task's file is damaged" in text
    assert "12 tasks tried" in text or "10 tasks tried" in text or "11 tasks tried" in text
    evaluate(address, tmp_path, bad, "--max-failed-task-share", "0.9")


def test_a_first_prompt_that_does_not_fit_costs_its_own_episodes():
    class Right(ToyPolicy):
        def reply(self, prompt, seed):
            return RIGHT

    policy, ended = Right(), []
    prompts = PromptBuilder(policy.tokenizer, PromptSettings(), 1500)
    player = EpisodePlayer(
        TokenAgent(policy, prompts), lambda: make_environment(NAME, bad={"t1": "long"}), max_turns=3, seed=1
    )
    plans = [EpisodePlan(task, 5, (task,)) for task in ("t0", "t1", "t2")]
    played = player.play(plans, ended.append)
    assert [episode and episode.plan.task_id for episode in played] == ["t0", None, "t2"]
    assert [episode.plan.task_id for episode in ended] == ["t0", "t2"]
    assert "tokens without any history; data.max_prompt_length=1500" in player.failed.reasons["t1"]


def test_types_of_the_other_tasks_are_read():
    failed = FailedTasks(0.5, "field")
    env = make_environment(NAME, bad={"t1": "reset"})
    assert task_types(env, ["t0", "t1", "t2"], str.upper, 0, failed) == dict.fromkeys(["t0", "t2"], "FIND THE WAY")
    assert failed.reasons == {"t1": "ValueError: this task's file is damaged"}
    with pytest.raises(FailedTasksError, match="2 of the 2 tasks tried .*nowhere"):
        task_types(make_environment(NAME), ["nowhere", "nor there"], str, 0, FailedTasks(0.5, "field"))


@pytest.mark.parametrize("faults", [{"t2": "reset", "t5": "exit"}, {f"t{k}": "reset" for k in range(12)}])
def test_a_panel_without_them(tmp_path, faults):
    words = ["data", "panel", NAME, "--out", str(tmp_path / "p.parquet"), "--set", f"bad={json.dumps(faults)}"]
    result = CliRunner().invoke(app, [*words, "--check"], env={"COLUMNS": "200"})
    if len(faults) == 12:
        assert result.exit_code == 1 and "none of its 12 tasks can be started" in result.output
        return
    assert result.exit_code == 0, result.output
    assert "left out t2: ValueError: this task's file is damaged" in result.output
    left = Panel.read(tmp_path / "p.parquet").task_ids
    assert len(left) == 10 and not {"t2", "t5"} & set(left)


def test_a_request_that_the_endpoint_refuses_costs_its_own_episode(tmp_path):
    with oracle(RIGHT, refused=["the hidden door"]) as address:
        evaluate(address, tmp_path, {"t4": "hidden"})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["samples"] == 11 and "status 400" in summary["failed_tasks"]["t4"]
