# SPDX-License-Identifier: Apache-2.0
import pytest

from siri_verl.envs.checker import EnvironmentCheckError, check_text_env
from siri_verl.envs.registry import make_environment
from siri_verl.envs.toy import ToyEnv


def test_a_sound_environment_passes():
    report = check_text_env(make_environment("toy"), episodes=6)
    assert report.tasks == 64
    assert report.episodes == 6
    assert report.turns >= 6
    assert sum(report.endings.values()) == 6


class Broken(ToyEnv):
    """The toy environment with one defect."""

    def __init__(self, defect):
        super().__init__()
        self.defect, self.count = defect, 0

    def task_ids(self):
        self.count += 1
        if self.defect == "unstable ids":
            return [f"{task}-{self.count}" for task in super().task_ids()]
        if self.defect == "repeated ids":
            return [*super().task_ids(), super().task_ids()[0]]
        return super().task_ids()

    def reset(self, *, seed=None, options=None):
        options = dict(options or {})
        if self.defect == "ignores unknown tasks" and options.get("task_id") not in super().task_ids():
            options.pop("task_id", None)
        return self.spoil(*super().reset(seed=seed, options=options), ended=False)

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.defect == "raises" and action.startswith("put"):
            raise RuntimeError("broken arm")
        if self.defect == "early success":
            info["success"] = True
        if self.defect == "nan":
            reward = float("nan")
        if self.defect == "everything counts":
            info["action_admissible"] = True
        if self.defect == "nothing counts":
            info["action_admissible"] = False
        observation, info = self.spoil(observation, info, ended=terminated or truncated)
        return observation, reward, terminated, truncated, info

    def spoil(self, observation, info, ended):
        self.count += 1
        if self.defect == "no anchor":
            del info["anchor"]
        if self.defect == "tuple of actions":
            info["admissible_actions"] = tuple(info["admissible_actions"])
        if self.defect == "no actions" and not ended:
            info["admissible_actions"] = []
        if self.defect == "big score":
            info["score"] = 10.0
        if self.defect == "wrong id":
            info["task_id"] = "other"
        if self.defect == "changing task":
            info["task"] += str(self.count)
        if self.defect == "random":
            observation += f" it is {self.count} o'clock."
        return observation, info


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("unstable ids", "differs between two calls"),
        ("repeated ids", "names 1 tasks twice"),
        ("ignores unknown tasks", "must raise UnknownTaskError"),
        ("raises", "an episode raised RuntimeError"),
        ("early success", "before the episode ended"),
        ("nan", "must be a finite number"),
        ("everything counts", "counts as admissible"),
        ("nothing counts", "counts as inadmissible"),
        ("no anchor", "info lacks anchor"),
        ("tuple of actions", r"info\['admissible_actions'\] is .*; expected list"),
        ("no actions", "offers no admissible action"),
        ("big score", r"must lie in \[0, 1\]"),
        ("wrong id", r"answers with info\['task_id'\] = 'other'"),
        ("changing task", "changed within an episode"),
        ("random", "the same seed and actions gave another turn"),
    ],
)
def test_each_defect_is_named(defect, message):
    with pytest.raises(EnvironmentCheckError, match=message) as caught:
        check_text_env(Broken(defect), episodes=8)
    assert caught.value.problems


def test_an_environment_of_another_kind_is_told_what_it_lacks():
    with pytest.raises(EnvironmentCheckError, match=r"CartPole-v1: 1 problem.*\n.*has no method task_ids"):
        check_text_env(make_environment("CartPole-v1"))
