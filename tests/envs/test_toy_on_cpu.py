# SPDX-License-Identifier: Apache-2.0
import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import siri_verl.envs  # noqa: F401  (registers the ids)
from siri_verl.envs.base import REQUIRED_INFO_KEYS, EpisodeOverError, UnknownTaskError
from siri_verl.envs.toy import PLACES, ROOMS, THINGS, toy_tasks


def solve(env, info, observation):
    """Plays by reading: the note names the room, the task names thing and place."""
    thing, place = info["task"].split()[2], info["task"].split()[-1]
    room = observation.split(f"the {thing} is in the ")[1].split(".")[0]
    for action in (f"go {room}", f"take {thing}", f"put {place}"):
        assert action in info["admissible_actions"]
        observation, reward, terminated, truncated, info = env.step(action)
    return reward, terminated, truncated, info


def test_every_task_is_won_by_reading():
    env = gymnasium.make("siri_verl/Toy-v0")
    for task_id in toy_tasks():
        observation, info = env.reset(seed=0, options={"task_id": task_id})
        assert set(REQUIRED_INFO_KEYS) <= set(info)
        assert info["task_id"] == task_id
        assert not info["success"]
        reward, terminated, truncated, info = solve(env, info, observation)
        assert (reward, terminated, truncated, info["success"], info["score"]) == (1.0, True, False, True, 1.0)


def test_splits_are_disjoint_and_cover_every_word():
    train, validation = toy_tasks("train"), toy_tasks("validation")
    assert len(train) == 48
    assert len(validation) == 16
    assert not set(train) & set(validation)
    for tasks in (train, validation):
        assert {word for task in tasks.values() for word in task} == {*THINGS, *ROOMS, *PLACES}


def test_ignoring_the_note_loses_and_wrong_place_scores_half():
    env = gymnasium.make("siri_verl/Toy-v0")
    start = {"task_id": "toy-coin-box-cellar"}
    env.reset(options=start)
    _, _, _, _, info = env.step("go attic")
    other = info["admissible_actions"][0]
    assert other != "take coin"
    env.step(other)
    _, reward, terminated, _, info = env.step("put box")
    assert reward == 0
    assert terminated
    assert not info["success"]
    env.reset(options=start)
    env.step("go cellar")
    env.step("take coin")
    assert env.step("put shelf")[1] == 0.5


def test_inadmissible_actions_cost_a_turn_and_end_in_truncation():
    env = gymnasium.make("siri_verl/Toy-v0", max_turns=3)
    before, first = env.reset(options={"task_id": "toy-coin-box-cellar"})
    for turn in range(3):
        observation, reward, terminated, truncated, info = env.step("" if turn else "take coin")
        assert observation == before
        assert info["anchor"] == first["anchor"]
        assert not info["action_admissible"]
        assert (reward, terminated, truncated) == (0.0, False, turn == 2)
    with pytest.raises(EpisodeOverError):
        env.step("go hall")


def test_unknown_names_are_refused():
    with pytest.raises(UnknownTaskError, match="toy-nope.*16 toy tasks"):
        gymnasium.make("siri_verl/Toy-v0", split="validation").reset(options={"task_id": "toy-nope"})
    with pytest.raises(ValueError, match="known: train, validation"):
        gymnasium.make("siri_verl/Toy-v0", split="test")


def test_gymnasium_checker_passes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make("siri_verl/Toy-v0", render_mode="ansi").unwrapped)
