# SPDX-License-Identifier: Apache-2.0
"""TextEnvAdapter: environments that know nothing of siri_verl, trained on as they are."""

import gymnasium
import pytest

from siri_verl.envs.adapter import Task, TextEnvAdapter
from siri_verl.envs.base import EpisodeOverError, UnknownTaskError
from siri_verl.envs.checker import check_text_env


class Corridor(gymnasium.Env):
    """A usual text environment: the exit lies `length` steps to the east."""

    observation_space = action_space = gymnasium.spaces.Text(200)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 3)) + (options or {}).get("more", 0)
        return f"the exit is {self.left} steps east", {"admissible_commands": ["east", "west"]}

    def step(self, action):
        self.left += {"east": -1, "west": 1}[action]
        done = self.left == 0
        return (
            f"the exit is {self.left} steps east",
            float(done),
            done,
            False,
            {"admissible_commands": ["east", "west"]},
        )


def corridor(**changes):
    tasks = {f"corridor-{k}": Task("leave the corridor", seed=k) for k in range(6)}
    return TextEnvAdapter(Corridor(), tasks, **{"max_turns": 4, **changes})


def frozen_lake(**changes):
    tasks = {f"lake-{k}": Task("reach the goal", seed=k) for k in range(3)}
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    return TextEnvAdapter(env, tasks, **{"actions": ["left", "down", "right", "up"], "max_turns": 10, **changes})


@pytest.mark.parametrize("make", [corridor, frozen_lake])
def test_the_checker_accepts_it(make):
    report = check_text_env(make(), episodes=4)
    assert report.tasks in (3, 6) and report.turns > 4


def test_a_solved_episode():
    env = corridor()
    _, info = env.reset(seed=5, options={"task_id": "corridor-2"})
    assert info["task"] == "leave the corridor" and info["admissible_actions"] == ["east", "west"]
    assert info["anchor"].startswith("the exit is")
    terminated = truncated = False
    while not (terminated or truncated):
        _, reward, terminated, truncated, info = env.step("east")
    assert (reward, terminated, info["success"], info["score"]) == (1.0, True, True, 1.0)
    assert info["admissible_actions"] == []
    with pytest.raises(EpisodeOverError):
        env.step("east")


def test_a_task_begins_alike_whatever_the_episode_seed():
    env = corridor()
    starts = {env.reset(seed=seed, options={"task_id": "corridor-1"})[0] for seed in range(8)}
    assert len(starts) == 1
    assert len({env.reset(seed=0, options={"task_id": task})[0] for task in env.task_ids()}) == 2


def test_an_action_that_is_not_listed_costs_a_turn_and_changes_nothing():
    env = corridor()
    before, info = env.reset(options={"task_id": "corridor-0"})
    for turn in range(1, 5):
        observation, reward, terminated, truncated, after = env.step("north")
        assert (observation, reward, terminated, truncated) == (before, 0.0, False, turn == 4)
        assert not after["action_admissible"] and after["anchor"] == info["anchor"]


def test_options_of_a_task_reach_the_environment():
    tasks = {"far": Task("leave", seed=0, options={"more": 50}), "near": Task("leave", seed=0)}
    env = TextEnvAdapter(Corridor(), tasks)
    far, near = (env.reset(options={"task_id": task})[0] for task in tasks)
    assert int(far.split()[3]) == int(near.split()[3]) + 50


def test_anchor_success_and_actions_can_be_stated():
    env = corridor(
        anchor=lambda observation, info: observation.split()[3],
        success=lambda total, terminated, info: False,
        actions=lambda observation, info: ["east"],
    )
    _, info = env.reset(options={"task_id": "corridor-0"})
    assert info["anchor"].isdigit() and info["admissible_actions"] == ["east"]
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step("east")
    assert not info["success"]


def test_a_stated_success_counts_more_than_the_reward():
    class Stated(Corridor):
        def step(self, action):
            *rest, info = super().step(action)
            return *rest, {**info, "is_success": False}

    env = TextEnvAdapter(Stated(), {"a": Task("x", seed=0)})
    env.reset(options={"task_id": "a"})
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step("east")
    assert not info["success"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TextEnvAdapter(Corridor(), {}), "tasks is empty"),
        (lambda: frozen_lake(actions=None), "the action space has 4 actions: name each"),
        (lambda: frozen_lake(actions=["left"]), "the action space has 4 actions: name each"),
    ],
)
def test_what_cannot_be_adapted_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_task_is_named():
    with pytest.raises(UnknownTaskError, match="'no' is not one of the 6 tasks"):
        corridor().reset(options={"task_id": "no"})
