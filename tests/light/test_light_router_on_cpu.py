# SPDX-License-Identifier: Apache-2.0
"""Routing of requests over several light servers."""

import subprocess
import sys

import pytest

from siri_verl.light import router as light_router
from siri_verl.light.router import LightRouter


def test_requests_spread_and_sessions_stay():
    router = LightRouter({"a": 1, "b": 2})
    first = [router.acquire_server(f"s{i}")[0] for i in range(6)]
    assert first == ["a", "b"] * 3
    for i in range(3):
        router.release_server("a")
    assert router.acquire_server("s1") == ("b", 2)  # its session, though b is busier
    assert router.acquire_server("new") == ("a", 1)
    assert (router.get_inflight_count("a"), router.get_total_inflight()) == (1, 5)


def test_sessions_of_a_server_that_left_move_on():
    router = LightRouter({"a": 1, "b": 2})
    assert router.acquire_server("s")[0] == "a"
    router.remove_servers(["a"])
    assert router.acquire_server("s")[0] == "b"
    router.release_server("a")
    router.add_servers({"c": 3})
    assert router.acquire_server("t") == ("c", 3)
    router.remove_servers(router.get_all_servers())
    with pytest.raises(RuntimeError, match="No available servers in load balancer"):
        router.acquire_server("s")


def test_sessions_are_forgotten_on_demand_and_beyond_the_limit(monkeypatch):
    monkeypatch.setattr(light_router, "REMEMBERED_SESSIONS", 3)
    router = LightRouter({"a": 1, "b": 2})
    for i in range(5):
        router.acquire_server(f"s{i}")
    assert router.clear_sticky_cache() == {"cleared_entries": 3, "server_loads": {"a": 3, "b": 2}}
    assert router.clear_sticky_cache()["cleared_entries"] == 0
    assert router.get_status()["active_servers"] == 2


def test_the_router_needs_no_heavy_module():
    code = "import sys, siri_verl.light.router; print({'torch', 'verl', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
