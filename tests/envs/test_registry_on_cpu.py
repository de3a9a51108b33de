# SPDX-License-Identifier: Apache-2.0
import gymnasium
import pytest

from siri_verl.envs.base import UnknownSplitError
from siri_verl.envs.registry import (
    EnvironmentSpec,
    UnknownEnvironmentError,
    get_environment,
    known_environments,
    list_task_ids,
    make_environment,
    register_environment,
)
from siri_verl.envs.toy import ToyEnv


def test_names_and_gymnasium_ids_both_work():
    assert {"toy", "webshop"} <= set(known_environments())
    for name in ("toy", "siri_verl/Toy-v0", "siri_verl.envs:siri_verl/Toy-v0"):
        assert isinstance(make_environment(name, split="validation").unwrapped, ToyEnv)
    assert len(list_task_ids("toy", split="validation")) == 16


def test_unknown_names_list_the_known_ones():
    for name in ("webshpo", "no_such_package:Thing-v0", "siri_verl/Toy-v9"):
        with pytest.raises(UnknownEnvironmentError, match="known name.*toy, webshop"):
            make_environment(name)
    with pytest.raises(UnknownSplitError, match="'dev' is unknown.*train, validation"):
        make_environment("toy", split="dev")


def test_a_name_means_one_environment(monkeypatch):
    monkeypatch.setattr("siri_verl.envs.registry._SPECS", {})
    spec = EnvironmentSpec("mine", "siri_verl/Toy-v0", kwargs={"max_turns": 4})
    register_environment(spec)
    register_environment(spec)
    assert get_environment("mine") is spec
    with pytest.raises(ValueError, match="already registered as 'siri_verl/Toy-v0'"):
        register_environment(EnvironmentSpec("mine", "siri_verl/WebShop-v0"))
    env = make_environment("mine")
    env.reset(seed=0)
    ends = [env.step("")[3] for _ in range(4)]
    assert ends == [False, False, False, True], "the specification's settings are used"


def test_environments_without_tasks_are_refused():
    with pytest.raises(TypeError, match="has no method task_ids"):
        list_task_ids("CartPole-v1")
    assert isinstance(make_environment("CartPole-v1"), gymnasium.Env)
