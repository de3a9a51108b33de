# SPDX-License-Identifier: Apache-2.0
"""The `siri:` block and `algorithm.gigpo`: defaults, and errors that name field, value and fix."""

import math

import pytest
from omegaconf import OmegaConf

from siri_verl.core.gigpo import GigpoSettings
from siri_verl.failures import ConfigError
from siri_verl.settings.read import gigpo_settings, siri_settings
from siri_verl.settings.schema import SiriSettings
from siri_verl.trajectory.prompts import TEMPLATES


def siri(**block):
    return siri_settings(OmegaConf.create({"siri": block}))


def gigpo(**block):
    return gigpo_settings(OmegaConf.create({"gigpo": block}))


def error(function, **block):
    with pytest.raises(ConfigError) as caught:
        function(**block)
    return str(caught.value)


def test_defaults_come_from_the_dataclasses_and_values_are_converted():
    assert siri() == SiriSettings()
    assert gigpo_settings(None) == gigpo_settings(OmegaConf.create({})) == GigpoSettings()
    settings = siri(rollout={"max_turns": "7"}, environment={"name": "toy", "kwargs": {"split": "train"}})
    assert settings.rollout.max_turns == 7 and settings.environment.kwargs == {"split": "train"}
    assert type(settings.environment.kwargs) is dict


def test_a_missing_block_says_how_to_add_it():
    with pytest.raises(ConfigError, match=r"siri: the block is missing; add it with `\+siri=webshop`"):
        siri_settings(OmegaConf.create({"trainer": {}}))


def test_unknown_settings_are_named_with_those_there_are():
    text = error(siri, prompt={"templat": "full"})
    assert "siri.prompt.templat: no such setting; did you mean template? siri.prompt has template, history" in text
    assert "siri.promt" in error(siri, promt={}) and "did you mean prompt?" in error(siri, promt={})
    assert "algorithm.gigpo.gama" in error(gigpo, gama=1) and "did you mean gamma?" in error(gigpo, gama=1)
    assert "siri.environment.zzz: no such setting; siri.environment has name" in error(siri, environment={"zzz": 1})


@pytest.mark.parametrize(
    ("block", "starts"),
    [
        ({"rollout": {"max_turns": "abc"}}, "siri.rollout.max_turns='abc': "),
        ({"rollout": {"max_turns": 2.5}}, "siri.rollout.max_turns=2.5: "),
        ({"rollout": {"request_seeds": "maybe"}}, "siri.rollout.request_seeds='maybe': "),
        ({"environment": {"name": None}}, "siri.environment.name=None: "),
        ({"rollout": 3}, "siri.rollout=3: expected a block with max_turns"),
        ({"environment": {"kwargs": [1]}}, "siri.environment.kwargs=[1]: expected a block"),
        ({"seed": "${nothing}"}, "siri.seed='${nothing}': "),
    ],
)
def test_wrong_types_are_named_with_field_and_value(block, starts):
    assert error(siri, **block).startswith(starts)


def test_a_block_that_is_no_mapping():
    with pytest.raises(ConfigError, match="siri=5: expected a block with seed"):
        siri_settings(OmegaConf.create({"siri": 5}))


def test_a_required_value_left_open_says_what_it_is():
    text = error(siri, environment={"name": "webshop", "kwargs": {"store": "???"}})
    assert text.startswith("siri.environment.kwargs.store=???: ") and "siri-verl data webshop" in text


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        ("environment.num_servers", 0, "at least 1"),
        ("environment.sessions_per_server", 0, "at least 1"),
        ("environment.step_timeout", 0, "seconds > 0"),
        ("environment.memory_limit_mib", 0, "null or MiB > 0"),
        ("prompt.template", "fancy", ", ".join(TEMPLATES)),
        ("prompt.history_length", -1, ">= 0"),
        ("rollout.max_turns", 0, "at least 1"),
        ("rollout.poll_interval", 0.0, "> 0"),
        ("reward.kind", "dense", "success, score"),
        ("reward.success_reward", 0.0, "> 0"),
        ("reward.success_reward", math.inf, "finite"),
        ("update.mini_batches", 0, "null or at least 1"),
    ],
)
def test_values_out_of_range(field, value, fix):
    block, name = field.split(".")
    text = error(siri, **{block: {name: value}})
    assert text.startswith(f"siri.{field}=") and fix in text
    if not isinstance(value, float | int):
        assert repr(value) in text


@pytest.mark.parametrize(
    ("block", "starts", "names"),
    [
        (
            {"internalization": {"gate": False}, "phases": {"fixed": "warm_up"}},
            "siri.internalization.gate=False",
            "fixed=",
        ),
        (
            {"internalization": {"source": "self_imitation"}, "phases": {"skip": ["internalization"]}},
            "siri.internalization.source='self_imitation'",
            "siri.phases.skip=['internalization'] leaves no internalization phase",
        ),
        (
            {"internalization": {"advantage_weights": False}, "phases": {"fixed": "mining"}},
            "siri.internalization.advantage_weights=False",
            "siri.phases.fixed='mining'",
        ),
        (
            {"mining": {"random_skills": True}, "phases": {"fixed": "warm_up"}},
            "siri.mining.random_skills=True",
            "skills",
        ),
        (
            {"control": {"skills_in_prompt": True}, "phases": {"fixed": "warm_up"}},
            "siri.control.skills_in_prompt=True",
            "leaves no phase with skills; drop one of the two",
        ),
        ({"method": " "}, "siri.method=' '", "give a name"),
    ],
)
def test_changes_of_the_method_that_exclude_each_other(block, starts, names):
    text = error(siri, **block)
    assert text.startswith(starts)
    assert names in text


def test_a_bank_to_start_from_can_be_shown_without_mining():
    shown = siri(control={"skills_in_prompt": True}, phases={"fixed": "warm_up"}, initial_bank="skills.jsonl")
    assert shown.control.skills_in_prompt


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("gamma", 1.1, "[0, 1]"),
        ("gamma", math.nan, "[0, 1]"),
        ("step_weight", -1.0, ">= 0"),
        ("step_weight", math.inf, "finite"),
        ("norm", "max", "mean, mean_std"),
        ("episode_stats", "per_row", "per_step, per_trajectory"),
        ("invalid_penalty", -0.1, ">= 0"),
        ("similarity", 0.0, "(0, 1]"),
        ("similarity", 1.5, "null"),
        ("lone", "raw", "score, zero"),
    ],
)
def test_gigpo_values_out_of_range(name, value, fix):
    text = error(gigpo, **{name: value})
    assert text.startswith(f"algorithm.gigpo.{name}={value!r}: ") and fix in text


TEACHER_ALONE = {
    "arms": {"skill_share": 0.0},
    "phases": {"fixed": "internalization"},
    "internalization": {"rows": "plain_under_skill", "divergence": "k3", "gate": False},
    "retrieval": {"choice": "any"},
}


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"internalization": {"rows": "both", "divergence": "k3", "gate": False}}, "rows='both': without a skill arm"),
        ({"internalization": {"rows": "plain_under_skill", "divergence": "k3"}}, "gate=True: without a skill arm"),
        (
            {"retrieval": {}},
            "choice='tested': without a skill arm (siri.arms.skill_share=0) nothing is tested; use any",
        ),
        ({"phases": {}}, "skill_share=0.0: leaves the mining phase nothing to test; use siri.phases.skip=[mining]"),
        ({"writer": {"train": True}}, "skill_share=0.0: without a skill arm no effect is measured"),
    ],
)
def test_without_a_skill_arm_the_skill_is_the_teachers_alone(block, says):
    siri(**TEACHER_ALONE)
    assert says in error(siri, **(TEACHER_ALONE | block))


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"phases": {"fixed": "warm_up"}}, "siri.phases.fixed='warm_up': leaves no phase with skills"),
        (
            {"mining": {"endpoint": {"base_url": "http://a/v1", "model": "m"}}},
            "another model writes, and siri.writer.tr",
        ),
        ({"writer": {"train": True, "window": 1}}, "siri.writer.window=1: use at least 2"),
    ],
)
def test_a_writer_that_learns_writes_itself_and_has_a_reward(block, says):
    train = {"writer": {"train": True}}
    siri(**train)
    assert says in error(siri, **(train | block))
