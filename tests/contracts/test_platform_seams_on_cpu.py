# SPDX-License-Identifier: Apache-2.0
"""verl is as the CPU platform and the light rollout expect it. A failure says what to change and where."""

import inspect
import re

import pytest
from support.seam_contract import check_seam

from siri_verl.seams.platform import PLATFORM_SEAMS


@pytest.mark.parametrize("seam", PLATFORM_SEAMS, ids=lambda seam: seam.target)
def test_seam(seam):
    check_seam(seam)


def test_light_is_registered_by_the_plugin():
    from verl.workers.rollout.base import get_rollout_class
    from verl.workers.rollout.replica import get_rollout_replica_class

    advice = "in siri_verl/registration.py: light_rollout must register it where verl now looks rollouts up"
    found = get_rollout_replica_class("light").__name__
    assert found == "LightReplica", f"verl.workers.rollout.replica gives {found} for 'light'; {advice}"
    found = get_rollout_class("light", "async").__name__
    assert found == "LightServerAdapter", f"verl.workers.rollout.base gives {found} for ('light', 'async'); {advice}"


def test_cpu_engines_are_registered_by_the_plugin():
    from verl.workers.engine import EngineRegistry

    for model_type in ("language_model", "value_model"):
        for backend in ("fsdp", "fsdp2"):
            found = EngineRegistry._engines[model_type][backend].get("cpu")
            assert found is not None and found.__module__ == "siri_verl.platform.engine", (
                f"verl.workers.engine:EngineRegistry has {found} for {model_type}, {backend}, cpu; in "
                "siri_verl/platform/engine.py: register the CPU engines under the keys verl now uses"
            )


def test_the_server_answers_every_call_verl_makes_of_its_servers():
    from verl.workers.rollout import replica

    from siri_verl.light.server import LightServer

    calls = set(re.findall(r"server\.(\w+)\.remote\(", inspect.getsource(replica)))
    assert {"abort_all_requests", "wake_up"} <= calls, (
        "verl.workers.rollout.replica no longer calls its servers as server.NAME.remote(); in this test: find the "
        "calls where verl now makes them"
    )
    absent = sorted(name for name in calls if not hasattr(LightServer, name))
    assert not absent, (
        f"verl.workers.rollout.replica calls {', '.join(absent)} of its servers; in siri_verl/light/server.py: "
        "add it to LightServer"
    )


def test_generate_takes_what_verls_client_sends():
    from verl.workers.rollout.llm_server import LLMServerClient

    from siri_verl.light.server import LightServer

    where, ours = "verl.workers.rollout.llm_server:LLMServerClient.generate", "siri_verl/light/server.py"
    source = inspect.getsource(LLMServerClient.generate)
    start, end = source.find("server.generate.remote("), source.find("global_steps = output")
    assert 0 < start < end, (
        f"{where} no longer calls server.generate.remote; in this test: read the call verl now makes"
    )
    sent = {part.split("=")[0].strip() for part in source[start:end].split("(", 2)[1].split(",") if "=" in part}
    sent |= {"request_id"}
    taken = set(inspect.signature(LightServer.generate).parameters)
    missing = sorted(sent - taken)
    assert not missing, f"{where} sends {', '.join(missing)}; in {ours}: LightServer.generate must take it"


def test_fields_of_the_token_output():
    from verl.workers.rollout.replica import TokenOutput

    built = {"token_ids", "log_probs", "stop_reason", "num_preempted", "extra_fields"}
    gone = sorted(built - set(TokenOutput.model_fields))
    assert not gone, (
        f"verl.workers.rollout.replica:TokenOutput has no {', '.join(gone)}; in siri_verl/light/server.py: "
        "build what verl's clients now expect"
    )


def test_the_router_answers_every_call_verl_makes_of_its_routers():
    from verl.workers.rollout.router import RequestLoadBalancer

    from siri_verl.light.router import LightRouter

    where = "verl.workers.rollout.router:RequestLoadBalancer"
    names = [n for n, v in vars(RequestLoadBalancer).items() if inspect.isfunction(v) and not n.startswith("_")]
    assert "acquire_server" in names, f"{where} has no acquire_server; in siri_verl/light/router.py: follow it"
    for name in names:
        theirs = set(inspect.signature(getattr(RequestLoadBalancer, name)).parameters) - {"extra"}
        ours = set(inspect.signature(getattr(LightRouter, name)).parameters) if hasattr(LightRouter, name) else set()
        assert theirs <= ours, (
            f"{where}.{name} takes {', '.join(sorted(theirs))}; in siri_verl/light/router.py: "
            f"LightRouter.{name} must take {', '.join(sorted(theirs - ours))} too"
        )


def test_verl_builds_the_router_the_preset_names():
    from verl.workers.rollout.router import _load_router_yaml, _resolve_router_class

    from siri_verl.planning.compose import compose_run

    path = compose_run(["+siri=cpu"]).actor_rollout_ref.rollout.router_config_path
    found = _resolve_router_class(_load_router_yaml(path)["router_class"]).__name__
    assert found == "LightRouter", (
        f"verl.workers.rollout.router:_resolve_router_class gives {found}; in siri_verl/conf/light_router.yaml: name "
        "LightRouter the way verl now reads it"
    )
