# SPDX-License-Identifier: Apache-2.0
"""Two Ray nodes on one machine, each with resources of its own, as `ray start` makes them on two machines."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE_S = 120


def _start(folder: Path, token: dict[str, str], *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    command += ["--num-cpus=16", "--num-gpus=1", "--object-store-memory=200000000", "--dashboard-agent-listen-port=0"]
    command += ["--min-worker-port=0", "--max-worker-port=0", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "", **token}
    with (folder / f"node{len(list(folder.glob('node*')))}.log").open("w") as log:
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def _wait(folder: Path, nodes: list[subprocess.Popen], done) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not done():
        ended = [node for node in nodes if node.poll() is not None]
        if ended or time.monotonic() > until:
            logs = "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("node*.log")))
            raise RuntimeError(f"the Ray nodes did not start:\n{logs}")
        time.sleep(0.2)


@contextmanager
def two_ray_nodes() -> Iterator[dict[str, str]]:
    """Start them and yield the environment variables of a process that joins them; at the end exactly their processes
    are stopped.

    Ray's own `ray.cluster_utils.Cluster` would make every `ray.init()` on this machine join the test's cluster.
    """
    # Short, because Ray puts sockets there, whose paths may not be longer than about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="siri2n", dir="/tmp"))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    nodes: list[subprocess.Popen] = []
    try:
        nodes.append(_start(folder, token, "--head", "--port=0", f"--temp-dir={folder}", "--include-dashboard=false"))
        named = folder / "ray_current_cluster"
        _wait(folder, nodes, lambda: named.is_file() and named.read_text().strip())
        address = named.read_text().strip()
        joining = {"RAY_ADDRESS": address, **token}
        nodes.append(_start(folder, token, f"--address={address}"))
        _wait(folder, nodes, lambda: _alive(joining) == 2)
        yield joining
    finally:
        for node in reversed(nodes):
            node.send_signal(signal.SIGTERM)
        for node in reversed(nodes):
            try:
                node.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _alive(joining: dict[str, str]) -> int:
    """How many nodes there are; asked in a process of its own, since Ray reads its token once in a process."""
    question = "import ray; ray.init(log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"
    command = [sys.executable, "-c", question]
    done = subprocess.run(command, env={**os.environ, **joining}, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"the Ray nodes cannot be joined:\n{done.stderr[-3000:]}")
    return int(done.stdout.split()[-1])
