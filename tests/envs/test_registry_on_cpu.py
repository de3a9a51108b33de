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
    list_unsolvable,
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


class Switched(ToyEnv):
    def __init__(self, quick: bool = True, split=None, loud=False, render_mode=None):
        super().__init__(split=split, render_mode=render_mode)
        self.quick, self.loud = quick, loud


@pytest.fixture
def switched():
    gymnasium.register("Switched-v0", entry_point=Switched)
    yield "Switched-v0"
    del gymnasium.registry["Switched-v0"]


@pytest.mark.parametrize("text", ["False", "false", "no", "NO", False])
def test_truth_values_that_arrive_as_text_are_read(switched, text):
    assert make_environment(switched, quick=text).unwrapped.quick is False
    assert make_environment(switched, loud="yes").unwrapped.loud is True, "the default says that it is a truth value"
    assert make_environment(switched, split="validation").unwrapped.quick is True


@pytest.mark.parametrize("value", ["off", "", 0, 1, None, "0"])
def test_other_values_for_truth_values_are_refused_by_name(switched, value):
    with pytest.raises(ValueError, match=f"setting quick={value!r}: use true or false"):
        make_environment(switched, quick=value)


def test_a_setting_on_the_command_line_may_be_written_as_in_python(switched):
    """`--set quick=False` is no JSON."""
    from siri_verl.cli.common import parse_settings

    assert make_environment(switched, **parse_settings(["quick=False"])).unwrapped.quick is False


def test_only_environments_that_know_them_leave_out_unsolvable_tasks():
    with pytest.raises(TypeError, match="does not know which tasks nobody can solve"):
        list_unsolvable("toy")
