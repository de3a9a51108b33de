# SPDX-License-Identifier: Apache-2.0
"""Two Ray nodes, each with one trainer worker, one light server and environment servers of its own."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from support.pool_job import SERVERS, SESSIONS
from support.ray_nodes import two_ray_nodes
from support.toy_run import check_run, train, write_inputs

from siri_verl.demos.webshop.generator import STORE, generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # three minutes on two free cores


@pytest.fixture(scope="module")
def nodes():
    with two_ray_nodes() as joining:
        yield joining


def test_a_run_spreads_over_both_nodes(nodes, tmp_path):
    inputs = write_inputs(tmp_path)
    train(inputs, tmp_path / "run", groups="base,cpu,cpu_small,cpu_cluster", **nodes)
    metrics = check_run(tmp_path / "run")
    assert metrics[2]["siri/paired_groups"] == 4, "both arms on both nodes"
    for found in metrics.values():
        assert found["siri/rollout/nodes"] == found["siri/rollout/servers"] == 2
        assert found["siri/rollout/node_share_min"] == 0.5, "two of four groups on each node"
        assert found["siri/rollout/server_share_min"] > 0.2
    assert found["siri/internalization/rows_added"] % 4 == 0, "two workers, two optimizer steps"


def test_the_catalogue_is_in_memory_once(nodes, tmp_path):
    generate(tmp_path / "shop")
    job = [sys.executable, str(Path(__file__).parents[1] / "support" / "pool_job.py"), str(tmp_path / "shop" / STORE)]
    done = subprocess.run(job, env={**os.environ, **nodes}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["nodes_alive"] == 2
    first, second = said["clients"]
    assert first["node"] != second["node"] and first["raylet"] != second["raylet"]
    assert len(first["tasks"]) == SESSIONS
    for key in ("tasks", "observations"):
        assert first[key] == second[key], "the same seeds open the same episodes on every node"

    servers, copies = defaultdict(set), defaultdict(list)
    for mapping in said["mappings"]:
        servers[mapping["parent"]].add(mapping["pid"])
        copies[mapping["path"]].append(mapping)
    for client in said["clients"]:
        assert client["servers"] == SERVERS == len(servers[client["raylet"]]), "each node has servers of its own"
    for path, maps in copies.items():
        assert len({m["inode"] for m in maps}) == 1, path
        # shared, and no page was copied: however many processes map it, the file is in memory once
        assert all(m["flags"].endswith("s") and m["Anonymous"] == 0 for m in maps), path
        assert sum(m["Pss"] for m in maps) <= Path(path).stat().st_size / 1024 + 4, path
    assert {"products.bin", "goals.bin"} <= {Path(path).name for path in copies}
