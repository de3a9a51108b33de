# SPDX-License-Identifier: Apache-2.0
"""What skills need from outside the configuration: the bank to start from, and an endpoint as the miner."""

import re
import sys

import pytest
from omegaconf import OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import dump_bank, save_bank
from siri_verl.skills.skill import Provenance
from siri_verl.training.preflight.limits import check_budget
from siri_verl.training.preflight.skills import check_skill_inputs, check_skills


def check(**siri):
    check_skill_inputs(siri_settings(OmegaConf.create({"siri": siri})))


def bank():
    made = SkillBank()
    made.add("the kitchen is named", "choose every option", "kitchen", Provenance("goal-1", "r1", 4))
    return made


def test_a_bank_a_folder_that_holds_one_and_none_at_all_are_fine(tmp_path):
    save_bank(bank(), tmp_path / "skills.jsonl")
    check()
    check(initial_bank=str(tmp_path / "skills.jsonl"))
    check(initial_bank=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file; give a bank file"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version 2, this program reads version 1; give"),
        (lambda text: text[:-20], "the file ends in the middle of a line; restore it"),
        (lambda text: text.replace('"task_id": "goal-1"', '"goal": 1'), "missing or unknown fields goal, task_id"),
        (lambda text: "hello\n", "line 1: not JSON"),
    ],
)
def test_a_missing_or_damaged_bank_is_refused_before_anything_starts(tmp_path, content, says):
    file = tmp_path / "bank.jsonl"
    if content is not None:
        file.write_text(content(dump_bank(bank())))
    with pytest.raises(ConfigError) as error:
        check(initial_bank=str(file))
    text = str(error.value)
    assert text.startswith(f"siri.initial_bank={str(file)!r}: ") and says in text
    assert text.endswith("null starts with an empty bank")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["algorithm.rollout_correction.bypass_mode=true"], "algorithm.rollout_correction.bypass_mode=True: the log-"),
        (
            ["+actor_rollout_ref.actor.megatron.router_replay.mode=R3"],
            "actor_rollout_ref.actor.megatron.router_replay.m",
        ),
        (["algorithm.filter_groups.enable=true"], "algorithm.filter_groups.enable=True: groups whose trajectories"),
        (["actor_rollout_ref.actor.shuffle=true"], "actor_rollout_ref.actor.shuffle=True: internalization rows are"),
        (["critic.enable=true"], "critic.enable=True: internalization rows are dealt to the actor's"),
        (["actor_rollout_ref.rollout.n=5"], "siri.arms.skill_share=0.5: arms: skill_share=0.5 of group size 5 is 2.5"),
    ],
)
def test_what_would_spoil_evidence_or_internalization_is_refused_and_suits_a_baseline(given, says):
    def check_run_of(*more):
        words = ["+siri=base", "actor_rollout_ref.rollout.n=8", *given, *more]
        config = compose_run(words)
        settings = siri_settings(config)
        check_skills(config, settings)
        check_budget(config, settings)

    with pytest.raises(ConfigError) as error:
        check_run_of()
    assert str(error.value).startswith(says)
    check_run_of("siri.phases.fixed=warm_up")


def test_a_trained_writer_needs_gigpo():
    words = ["+siri=base", "siri.writer.train=true"]
    check_skills(config := compose_run(words), siri_settings(config))
    config = compose_run([*words, "algorithm.adv_estimator=grpo"])
    says = "algorithm.adv_estimator='grpo': siri.writer.train=True gives the writer's rows advantages of their own"
    with pytest.raises(ConfigError, match=re.escape(says)):
        check_skills(config, siri_settings(config))


def test_chains_need_the_order_of_the_tasks():
    words = ["+siri=base", "siri.curriculum.chain_length=2"]
    with pytest.raises(ConfigError, match="siri.curriculum.chain_length=2: .*data.shuffle=True would undo; set it to"):
        check_skills(config := compose_run(words), siri_settings(config))
    config = compose_run([*words, "data.shuffle=false"])
    check_skills(config, siri_settings(config))


def test_a_budget_counts_the_steps_of_every_group():
    words = [
        "+siri=base",
        "siri.phases.fixed=warm_up",
        "siri.budget.env_steps=9",
        "algorithm.filter_groups.enable=true",
    ]
    config = compose_run(words)
    with pytest.raises(ConfigError, match="siri.budget.env_steps=9: algorithm.filter_groups.enable=True drops"):
        check_budget(config, siri_settings(config))


ENDPOINT = {"base_url": "http://localhost:9/v1", "model": "m", "api_key_env": "MINER_KEY"}


def test_an_endpoint_needs_its_key_and_the_package(monkeypatch):
    monkeypatch.delenv("MINER_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"siri\.mining\.endpoint\.api_key_env='MINER_KEY': .*not set.*export it"):
        check(mining={"endpoint": ENDPOINT})
    check(mining={"endpoint": {**ENDPOINT, "api_key_env": None}})
    monkeypatch.setenv("MINER_KEY", "abc")
    check(mining={"endpoint": ENDPOINT})
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"siri\.mining\.endpoint\.base_url='http://localhost:9/v1': .*pip install"):
        check(mining={"endpoint": ENDPOINT})
    check()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base_url": "localhost:9"}, "siri.mining.endpoint.base_url='localhost:9': use http://"),
        ({"model": ""}, "siri.mining.endpoint.model='': name the endpoint's model"),
        ({"base_url": None}, "siri.mining.endpoint.model='m': set siri.mining.endpoint.base_url too"),
        ({"key": "secret"}, "siri.mining.endpoint.key: no such setting"),
    ],
)
def test_wrong_endpoint_settings_are_named(changes, says):
    with pytest.raises(ConfigError) as error:
        check(mining={"endpoint": {**ENDPOINT, **changes}})
    assert str(error.value).startswith(says)
