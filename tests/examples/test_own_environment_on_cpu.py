# SPDX-License-Identifier: Apache-2.0
"""The example environment: it keeps the contract, its panels are its tasks, and its command composes."""

import gymnasium
import pytest
from support.example_runs import EXAMPLES, config_of, example
from transformers import Qwen2Config
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.base import EpisodeOverError, UnknownTaskError
from siri_verl.envs.checker import check_text_env
from siri_verl.envs.panels import Panel, check_disjoint, write_dataset
from siri_verl.envs.replies import parse_reply
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.run import preflight
from siri_verl.trajectory.prompts import COMPACT, render_prompt
from siri_verl.trajectory.turn import TurnView

FOLDER = EXAMPLES / "own_environment"


@pytest.fixture(scope="module")
def prepare():
    """The example's preparation; its folder is then on the path, as its command puts it there."""
    return example("own_environment", "prepare")


@pytest.fixture
def env(prepare):
    return gymnasium.make("guess_number:GuessNumber-v0", disable_env_checker=True)


def test_the_checker_finds_nothing(env):
    report = check_text_env(env, episodes=8)
    assert report.warnings == () and report.tasks == 64


def test_the_player_that_halves_the_interval_always_wins(env):
    won = 0
    for number in range(1, 17):
        observation, info = env.reset(options={"task_id": f"{number}-cats"})
        done = False
        while not done:
            open_guesses = info["admissible_actions"]
            observation, reward, terminated, truncated, info = env.step(open_guesses[(len(open_guesses) - 1) // 2])
            done = terminated or truncated
        won += info["success"]
    assert won == 16  # five guesses are enough for 31 numbers
    with pytest.raises(EpisodeOverError):
        env.step("1")
    with pytest.raises(UnknownTaskError, match="17-cats"):
        env.reset(options={"task_id": "17-cats"})


def test_panel_files_become_what_verl_reads(tmp_path, env):
    panels = {}
    for split in ("train", "validation"):
        panels[split] = Panel.read(FOLDER / f"{split}.json")
        result = CliRunner().invoke(app, ["data", "panel", str(FOLDER / f"{split}.json"), "--out",
                                          str(tmp_path / f"{split}.parquet")])  # fmt: skip
        assert result.exit_code == 0, result.output
        assert Panel.read(tmp_path / f"{split}.json") == panels[split]
    check_disjoint(panels["train"], panels["validation"])
    assert {*panels["train"].task_ids, *panels["validation"].task_ids} == set(env.unwrapped.task_ids())
    refused = CliRunner().invoke(
        app, ["data", "panel", str(FOLDER / "train.json"), "--split", "train", "--out", str(tmp_path / "x.parquet")]
    )
    assert refused.exit_code == 1


def test_its_command_composes_and_a_run_would_start(tmp_path, env, prepare):
    for split in ("train", "validation"):
        write_dataset(Panel.read(FOLDER / f"{split}.json"), tmp_path / f"{split}.parquet")
    texts = [part for messages, reply in prepare.lessons() for part in (messages[0]["content"], reply)]
    example("lib", "player").make_tokenizer(texts).save_pretrained(tmp_path / "model")
    Qwen2Config().save_pretrained(tmp_path / "model")
    inputs = {"data.train_files": "train.parquet", "data.val_files": "validation.parquet",
              "actor_rollout_ref.model.path": "model"}  # fmt: skip
    config = config_of("own_environment", *(f"{key}={tmp_path}/{file}" for key, file in inputs.items()))
    settings = siri_settings(config)
    assert settings.environment.name == "guess_number:GuessNumber-v0" and settings.phases.fixed == "warm_up"
    preflight(config, settings)


def test_the_lessons_are_the_prompts_the_loop_writes(env, prepare):
    messages = {message["content"] for (message,), _ in prepare.lessons()}
    observation, info = env.reset(options={"task_id": "5-books"})
    first = TurnView(info["task"], observation, tuple(info["admissible_actions"]), turn=1)
    assert render_prompt(first, COMPACT) in messages
    for _, reply in prepare.lessons():
        assert parse_reply(reply).valid
