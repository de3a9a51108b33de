# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""verl is as the CPU platform and the light rollout expect it. A failure says what to change and where."""

import inspect

import pytest

from siri_verl.platform.seams import PLATFORM_SEAMS
from siri_verl.seams import problem, resolve

WRAPPED = "verl.utils.distributed:"


@pytest.mark.parametrize("seam", PLATFORM_SEAMS, ids=lambda seam: seam.target)
def test_seam(seam):
    found = problem(seam)
    assert found is None, found


def test_light_is_registered_by_the_plugin():
    from verl.workers.rollout.base import get_rollout_class
    from verl.workers.rollout.replica import get_rollout_replica_class

    assert get_rollout_replica_class("light").__name__ == "LightReplica"
    assert get_rollout_class("light", "async").__name__ == "LightServerAdapter"


def test_cpu_engines_are_registered_by_the_plugin():
    from verl.workers.engine import EngineRegistry

    for model_type in ("language_model", "value_model"):
        for backend in ("fsdp", "fsdp2"):
            assert EngineRegistry._engines[model_type][backend]["cpu"].__module__ == "siri_verl.platform.engine"


def test_the_process_group_is_still_asked_for_with_two_devices():
    # siri_verl/platform/process_group.py exists for this line; drop the module when verl no longer writes it
    for name in ("initialize_global_process_group", "initialize_global_process_group_ray"):
        source = inspect.getsource(resolve(WRAPPED + name).__wrapped__)
        assert 'f"cpu:gloo,{get_device_name()}:{get_nccl_backend()}"' in source


def test_forward_only_is_still_what_pins_memory():
    # CpuFsdpMixin._build_fsdp_module hides forward_only for this condition; change it when verl decides otherwise
    source = inspect.getsource(resolve("verl.workers.engine.fsdp.transformer_impl:FSDPEngine._build_fsdp_module"))
    assert "self.engine_config.offload_policy or self.engine_config.forward_only" in source
    assert source.count("forward_only") == 2


def test_the_server_answers_every_call_verl_makes_of_its_servers():
    # add to LightServer whatever name this reports
    import re

    from verl.workers.rollout import replica

    from siri_verl.rollout.light_server import LightServer

    calls = set(re.findall(r"server\.(\w+)\.remote\(", inspect.getsource(replica)))
    assert "abort_all_requests" in calls and "wake_up" in calls
    assert {name for name in calls if not hasattr(LightServer, name)} == set()


def test_generate_takes_what_verls_client_sends():
    from verl.workers.rollout.llm_server import LLMServerClient

    from siri_verl.rollout.light_server import LightServer

    source = inspect.getsource(LLMServerClient.generate)
    block = source[source.index("server.generate.remote(") : source.index("global_steps = output")]
    sent = {part.split("=")[0].strip() for part in block.split("(", 2)[1].split(",") if "=" in part}
    sent |= {"request_id"}
    taken = set(inspect.signature(LightServer.generate).parameters)
    assert {"prompt_ids", "sampling_params", "request_id"} <= taken
    assert sent <= taken, f"LightServer.generate must also take {sent - taken}"


def test_fields_of_the_token_output():
    from verl.workers.rollout.replica import TokenOutput

    assert {"token_ids", "log_probs", "stop_reason", "num_preempted", "extra_fields"} <= set(TokenOutput.model_fields)


def test_the_router_answers_every_call_verl_makes_of_its_routers():
    # add to LightRouter whatever name or parameter this reports
    from verl.workers.rollout.router import RequestLoadBalancer

    from siri_verl.rollout.light_router import LightRouter

    names = [n for n, v in vars(RequestLoadBalancer).items() if inspect.isfunction(v) and not n.startswith("_")]
    assert "acquire_server" in names
    for name in names:
        theirs = set(inspect.signature(getattr(RequestLoadBalancer, name)).parameters) - {"extra"}
        assert theirs <= set(inspect.signature(getattr(LightRouter, name)).parameters), name


def test_verl_builds_the_router_the_preset_names():
    from hydra import compose, initialize_config_module
    from verl.workers.rollout.router import _load_router_yaml, _resolve_router_class

    with initialize_config_module("verl.trainer.config", version_base=None):
        path = compose("ppo_trainer", overrides=["+siri=cpu"]).actor_rollout_ref.rollout.router_config_path
    assert _resolve_router_class(_load_router_yaml(path)["router_class"]).__name__ == "LightRouter"
