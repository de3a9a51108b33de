# SPDX-License-Identifier: Apache-2.0
"""The order of configuration groups, composed as a run composes them."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from siri_verl.failures import ConfigError
from siri_verl.planning.compose import compose_run
from siri_verl.settings.groups import check_groups
from siri_verl.settings.read import siri_settings

FOLDER = Path(__file__).parents[2] / "siri_verl" / "conf" / "siri"
FILES = {file.stem: OmegaConf.load(file) for file in FOLDER.glob("*.yaml") if file.stem != "sft_cpu"}


@pytest.mark.parametrize(
    "groups, first, last",
    [
        ("webshop,gpus_4,gpu", "gpus_4", "gpu"),
        ("webshop,sglang,gpu", "sglang", "gpu"),
        ("base,vllm_cpu,cpu", "vllm_cpu", "cpu"),
        ("lora,webshop", "lora", "webshop"),
        ("webshop,offload,gpu", "offload", "gpu"),
        ("cpu_small,cpu,webshop", "cpu_small", "cpu"),
        ("no_gate,base", "no_gate", "base"),
        ("no_gate,own", "no_gate", "own"),
        ("cpu,cpu_small,own", "cpu_small", "own"),
    ],
)
def test_a_group_that_another_undoes_is_refused(groups, first, last):
    with pytest.raises(ConfigError) as error:
        siri_settings(compose_run([f"+siri=[{groups}]"]))
    assert f"{last} overrides settings of {first}, which must come after it" in str(error.value)
    assert f"use [...,{last},...,{first}]" in str(error.value)


def test_two_groups_of_one_kind_are_refused():
    with pytest.raises(ConfigError, match="both set the number of GPUs"):
        siri_settings(compose_run(["+siri=[base,gpu,gpus_4,gpus_8]"]))


@pytest.mark.parametrize(
    "groups",
    [
        "base,gpu,qwen_7b,gpus_8,sglang",
        "base,gpu_megatron,gpus_4",
        "base,cpu,cpu_small,vllm_cpu",
        "base,cpu,no_gate",
        "own,gpu,qwen_1.5b,gpus_1,lora,gigpo",
        "own,cpu,cpu_small,random_skills",
    ],
)
def test_the_documented_order_passes(groups):
    config = compose_run([f"+siri=[{groups}]", "siri.environment.name=toy"])
    siri_settings(config)
    given = groups.split(",")
    assert [name for name in config.siri_groups if name in given] == given


def test_every_group_states_itself_and_knows_every_group_that_it_changes():
    """Of two groups that set one key differently, one must come after the other, or a run has one of them."""

    def keys(config, prefix=""):
        found = {}
        for name, value in config.items():
            full = f"{prefix}{name}"
            found |= keys(value, f"{full}.") if isinstance(value, dict) and value else {full: value}
        return found

    kinds = {kind for name, file in FILES.items() if (kind := file.siri_groups[name].get("kind"))}
    own = {}
    for name, file in FILES.items():
        plain = OmegaConf.to_container(file)
        stated = plain.pop("siri_groups")
        assert list(stated) == [name]
        assert set(stated[name].get("after", ())) <= FILES.keys() | kinds
        plain.pop("defaults", None)
        own[name] = keys(plain), stated[name]
    included = {name: ["base"] for name in ("webshop", "alfworld", "own")} | {
        name: ["gpu_node"] for name in ("gpu", "gpu_megatron")
    }
    for a, (of_a, stated_a) in own.items():
        for b, (of_b, stated_b) in own.items():
            differ = [key for key in of_a if key in of_b and of_a[key] != of_b[key]]
            if a >= b or not differ or b in included.get(a, ()) or a in included.get(b, ()):
                continue
            ordered = {b, stated_b.get("kind")} & {*stated_a.get("after", ())}
            ordered |= {a, stated_a.get("kind")} & {*stated_b.get("after", ())}
            one_kind = stated_a.get("kind") is not None and stated_a.get("kind") == stated_b.get("kind")
            of_other_hardware = {a, b} & {"gpu_node", "gpu", "gpu_megatron"} and {a, b} & {
                "cpu_cluster", "cpu_small", "smollm2_cpu"}  # fmt: skip
            assert ordered or one_kind or of_other_hardware, (a, b, differ)


def test_configurations_without_the_block_pass():
    check_groups(None)
