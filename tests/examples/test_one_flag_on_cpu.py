# SPDX-License-Identifier: Apache-2.0
"""The example of the one flag: what its command composes to, and what its loop returns."""

import re

import pytest
import torch
from support.example_runs import EXAMPLES, config_of, dry_run, example, play

from siri_verl.training.step_table import StepTable


@pytest.fixture(scope="module")
def corridor():
    module = example("one_flag", "corridor")
    loop = example("one_flag", "corridor_loop")
    player = example("lib", "player")
    texts = [module.prompt(place)[0]["content"] for place in range(module.PLACES)]
    return module, loop.CorridorLoop, player.make_tokenizer([*texts, *module.REPLIES])


def test_gigpo_and_grpo_differ_in_one_flag():
    gigpo, grpo = dry_run("one_flag"), dry_run("one_flag", "grpo")
    assert [(a, b) for a, b in zip(gigpo, grpo, strict=True) if a.replace("gigpo", "grpo") != b] == []
    changed = {a for a, b in zip(gigpo, grpo, strict=True) if a != b}
    run_names = {a for a in changed if a.startswith(("trainer.experiment_name=", "trainer.default_local_dir="))}
    assert changed - run_names == {"algorithm.adv_estimator=gigpo"}
    config = config_of("one_flag")
    assert config.trainer.v1.trainer_mode == "sync"
    assert "siri" not in config
    assert "gigpo" not in config.algorithm
    assert "agent_loop_manager_class" not in config.actor_rollout_ref.rollout.agent


def play_walk(corridor, start, replies, turns=9):
    _, loop, tokenizer = corridor
    task = {"start": start, "turns": turns}
    outputs, policy = play(loop, config_of("one_flag"), tokenizer, replies, extra_info=task)
    return outputs, policy


def test_the_loop_states_anchors_and_rewards_of_every_turn(corridor):
    rows, policy = play_walk(corridor, 4, ["left", "right", "sideways", "right", "right"])
    table = StepTable.build([f"u_0_{k}" for k in range(5)], [{}] * 5, [row.extra_fields for row in rows])
    assert table.anchor == [f"place {k}" for k in (4, 3, 4, 4, 5)]
    assert table.reward.tolist() == [0, 0, 0, 0, 1.0] and table.valid.tolist() == [True, True, False, True, True]
    assert "place 5" in policy.prompts[-1]
    # what verl's worker needs of a loop that scores itself
    assert all(row.reward_score == 1.0 and row.extra_fields["reward_extra_info"] == {"acc": 1.0} for row in rows)
    assert all(row.extra_fields["max_global_steps"] == 4 for row in rows)


@pytest.mark.parametrize("turns", [1, 7])
def test_a_walk_ends_after_its_turns(corridor, turns):
    rows, _ = play_walk(corridor, 1, ["left"] * turns, turns)
    assert len(rows) == turns and rows[-1].reward_score == 0.0


def test_the_small_models_tokenizer_writes_any_text(corridor):
    _, _, tokenizer = corridor
    text = 'left? {"é": "\n"} right'
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and max(ids) < len(tokenizer)
    assert len(tokenizer.encode("\n")) == 1, "verl's builder of Qwen's conversations asks for it"
    assert torch.tensor(ids).dtype == torch.int64


def test_the_readme_lists_every_example_and_its_command():
    text = (EXAMPLES / "README.md").read_text()
    folders = {path.parent.name for path in EXAMPLES.glob("*/run.sh")}
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == folders
    for folder in folders:
        assert f"bash examples/{folder}/run.sh" in text and dry_run(folder)
