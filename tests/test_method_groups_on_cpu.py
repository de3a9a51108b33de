# SPDX-License-Identifier: Apache-2.0
"""The groups of published methods: they hold the values of siri_verl/core/teacher_methods.py on every environment and
demo, pass the checks beside every preset for GPUs, and are in the table of docs/methods.md."""

import re
from functools import cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support.method_family import FAMILY, TOKEN_TEACHERS
from test_presets_on_cpu import covering

from siri_verl.core.phases import INTERNALIZATION
from siri_verl.core.teacher_methods import METHODS, vetted_settings
from siri_verl.failures import ConfigError
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.settings.reference import comment, method_groups
from siri_verl.training.preflight.settings import check_settings

ROOT = Path(__file__).parents[1]
CONF = ROOT / "siri_verl" / "conf" / "siri"
OUTSIDE = {"siri.environment.kwargs.store": "/a/store", "siri.environment.kwargs.data": "/some/games"}
RUNS = {
    "webshop demo": "webshop,cpu,cpu_small,webshop_demo",
    "alfworld": "alfworld,gpu",
    "alfworld demo": "alfworld,cpu,cpu_small,alfworld_demo",
    "base": "base,cpu,cpu_small",
}
EVERYDAY = "webshop demo"


def preset_groups(knobs):
    """The groups that the recipes' knobs stand for (recipes/lib/gpu.sh)."""
    groups = ["webshop", {"fsdp2": "gpu", "megatron": "gpu_megatron"}[knobs["ENGINE"]], f"qwen_{knobs['MODEL']}"]
    groups += [f"gpus_{knobs['GPUS']}"]
    groups += ["sglang"] * (knobs["ROLLOUT"] == "sglang") + ["lora"] * (knobs["LORA"] != "0")
    return ",".join(groups)


PRESETS = sorted({preset_groups(knobs) for knobs in covering()})


@cache
def without_method(groups):
    config = compose_run([f"+siri=[{groups}]"])
    for name, value in OUTSIDE.items():
        OmegaConf.update(config, name, value, force_add=True)
    return config


def with_method(groups, method):
    """What Hydra composes of the groups and the method's, which comes last and is of the global package."""
    group = OmegaConf.load(CONF / f"{method}.yaml")
    assert "defaults" not in group
    OmegaConf.set_struct(base := without_method(groups).copy(), False)
    return OmegaConf.merge(base, group)


def accept(config):
    settings = siri_settings(config)
    if settings.internalization.target != "sampled" and config.actor_rollout_ref.actor.strategy == "megatron":
        with pytest.raises(ConfigError, match="computes with the logits that verl's FSDP engine hands to the loss"):
            check_settings(config, settings)
    else:
        check_settings(config, settings)
    return settings


@pytest.mark.parametrize("method", FAMILY)
@pytest.mark.parametrize("run", [pytest.param(run, marks=[pytest.mark.slow] * (run != EVERYDAY)) for run in RUNS])
def test_a_method_is_the_same_on_every_environment(run, method):
    settings = accept(with_method(RUNS[run], method))
    assert settings.method == method_groups()[method]
    if method in TOKEN_TEACHERS:
        assert settings.internalization == vetted_settings(method)
        assert settings.phases.fixed == INTERNALIZATION, "its term is on from the first iteration"


@pytest.mark.parametrize("method", ["sage"])
def test_hydra_composes_the_same(method):
    words = [f"+siri=[webshop,gpu,{method}]", *(f"++{name}={value}" for name, value in OUTSIDE.items())]
    assert compose_run(words) == with_method("webshop,gpu", method)


@pytest.mark.parametrize("method", FAMILY)
def test_a_method_passes_the_checks_beside_presets_for_gpus(method):
    few = PRESETS[::4]
    accept(with_method(few[FAMILY.index(method) % len(few)], method))


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_method_beside_every_preset(preset):
    for method in FAMILY:
        accept(with_method(preset, method))


@pytest.mark.parametrize("method", FAMILY)
def test_a_group_names_its_source_and_what_differs(method):
    text = comment(CONF / f"{method}.yaml")
    assert re.search(r"Source: \S+", text) and "Deviation" in text, text


def test_docs_have_a_row_for_each_method():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for method in FAMILY:
        assert re.search(rf"^\| `{method}` \|", text, re.MULTILINE), method
    assert not set(METHODS) - {"siri"} - set(FAMILY) - {"spear"}
