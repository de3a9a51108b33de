# SPDX-License-Identifier: Apache-2.0
import sys
import time
from fractions import Fraction

import gymnasium
import numpy as np
import pytest

from siri_verl.envs.base import FreeText, UnknownTaskError
from siri_verl.envs.checker import EnvironmentCheckError, check_text_env
from siri_verl.envs.registry import make_environment
from siri_verl.envs.servers.process import EnvironmentServer
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


class Corridor(gymnasium.Env):
    """An environment of a user: two actions, three turns. Subclasses change one thing."""

    metadata = {"render_modes": []}
    actions, goal, rules = ["Go left", "Go right"], "Go right", None

    def __init__(self):
        self.observation_space, self.action_space = FreeText(), FreeText()

    def task_ids(self):
        return ["t1", "t2", "t3"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task, self.turn = (options or {}).get("task_id") or "t1", 0
        if self.task not in self.task_ids():
            raise UnknownTaskError(self.task)
        info = self.info(True, False, False)
        return self.text(), info if self.rules is None else info | {"action_rules": dict(self.rules)}

    def step(self, action):
        known, solved = action in self.actions, action == self.goal
        self.turn += known
        over = solved or self.turn == 3
        return self.text(), self.reward(solved), solved, over and not solved, self.info(known, solved, over)

    def text(self):
        return f"at {self.turn}"

    def reward(self, solved):
        return float(solved)

    def info(self, known, solved, over):
        return {
            "task": "find the way",
            "task_id": self.task,
            "admissible_actions": [] if over else self.actions,
            "anchor": self.text(),
            "action_admissible": known,
            "success": solved,
            "score": float(solved),
        }


def variant(**methods):
    return type("Variant", (Corridor,), methods)


def more_info(**values):
    return lambda self, *state: Corridor.info(self, *state) | {k: v() for k, v in values.items()}


class Lock:
    def __reduce__(self):
        raise TypeError("a lock stays in its process")


def leave(self, action):
    sys.exit(3)


SOUND = {
    "capitals": {},
    "another script": {"actions": ["\u5411\u5317\u8d70", "\u5411\u5357\u8d70"], "goal": "\u5411\u5317\u8d70"},
    "lower case by rule": {"actions": ["go left", "go right"], "goal": "go right", "rules": {"lower_case": True}},
    "float32 reward": {"reward": lambda self, solved: np.float32(solved)},
    "integer reward": {"reward": lambda self, solved: np.int64(solved)},
    "array reward": {"reward": lambda self, solved: np.array(float(solved))},
    "fraction reward": {"reward": lambda self, solved: Fraction(int(solved))},
    "bool reward": {"reward": lambda self, solved: solved},
    "negative reward": {"reward": lambda self, solved: -1e6},
    "arrays in info": {"info": more_info(embedding=lambda: np.zeros(3), other=object)},
    "a clock in info": {"info": more_info(clock=time.perf_counter)},
    "empty observation": {"text": lambda self: "" if self.turn else "$"},
    "numpy flags": {
        "info": lambda self, known, solved, over: (
            Corridor.info(self, known, solved, over)
            | {"action_admissible": np.bool_(known), "success": np.bool_(solved), "score": np.float32(solved)}
        )
    },
}
DEFECTIVE = {
    "infinite reward": ({"reward": lambda self, solved: float("inf")}, "the reward is inf; it must be a finite"),
    "minus infinity": ({"reward": lambda self, solved: np.float32("-inf")}, "it must be a finite number"),
    "nan reward": ({"reward": lambda self, solved: np.float32("nan")}, "it must be a finite number"),
    "no reward": ({"reward": lambda self, solved: None}, "the reward is None; it must be a finite number"),
    "text reward": ({"reward": lambda self, solved: "1.0"}, "the reward is '1.0'; it must be a finite number"),
    "exit": ({"step": leave}, r"an episode raised SystemExit\(3\)"),
    "not sendable": ({"info": more_info(lock=Lock)}, "cannot be sent to another process"),
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("wrap", [lambda env: env, gymnasium.wrappers.RecordEpisodeStatistics])
def test_what_trains_passes(name, wrap):
    assert check_text_env(wrap(variant(**SOUND[name])())).turns
    assert {result.status for result in served(variant(**SOUND[name]))} == {"ok"}


@pytest.mark.parametrize("name", DEFECTIVE)
def test_what_does_not_train_is_named(name):
    changes, message = DEFECTIVE[name]
    with pytest.raises(EnvironmentCheckError, match=message):
        check_text_env(variant(**changes)())


@pytest.mark.parametrize("name", [name for name in DEFECTIVE if name != "not sendable"])
def test_the_same_ends_the_session_alone(name):
    """A server's process and its other sessions go on."""
    assert served(variant(**DEFECTIVE[name][0]))[-1].status == "environment_error"


def served(kind):
    """The answers of an environment server to an episode."""
    gymnasium.register("CheckedEnv-v0", entry_point=kind)
    try:
        server = EnvironmentServer("CheckedEnv-v0", {}, 2)
        results = [server.open("a", "t1", 0)]
        while not results[-1].ended:
            results.append(server.step("a", kind.goal))
        assert server.open("b", "t2", 0).status == "ok"
        return results
    finally:
        del gymnasium.registry["CheckedEnv-v0"]


@pytest.mark.parametrize(
    "actions, rules, message",
    [
        (["Go left", "Go right"], {"lower_case": True}, "'go .*counts as inadmissible; .* lower-cases actions"),
        (["say </action> loud", "Go right"], None, "is read from a reply as 'say'; an action cannot contain"),
        ([" Go left", "Go right"], None, "' Go left' has blanks around it"),
        (["\u5411\u5317\u8d70", "Go right"], {"refuse_cjk": True}, r"is malformed \(cjk\)"),
        (["Go left", "Go right"], {"upper": True}, "use a dict with bools under lower_case and refuse_cjk"),
    ],
)
def test_an_offered_action_that_no_reply_can_carry_is_named(actions, rules, message):
    with pytest.raises(EnvironmentCheckError, match=message):
        check_text_env(variant(actions=actions, rules=rules)())


def test_a_difference_is_shown_where_it_is():
    turns = iter(range(1000))
    env = variant(text=lambda self: f"{'a long page ' * 20}{next(turns)} end")()
    with pytest.raises(EnvironmentCheckError, match=r"observation '.*page \d+ end' against '.*page \d+ end'"):
        check_text_env(env)
