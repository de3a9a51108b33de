# SPDX-License-Identifier: Apache-2.0
"""Clients on every node of a Ray cluster open episodes in the shop; says which processes have its files mapped.

Usage: python pool_job.py STORE, with RAY_ADDRESS set. Prints one line of JSON.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from siri_verl.envs.servers.pool import EnvironmentPool, PoolSettings
from siri_verl.training.preflight.nodes import nodes_alive

SERVERS, SESSIONS = 2, 6


class Client:
    """One per node. `open` leaves its sessions open."""

    async def open(self, store: str) -> dict:
        config = PoolSettings("webshop", {"store": store}, num_servers=SERVERS, sessions_per_server=8)
        self.pool = await EnvironmentPool.connect_or_create("shop", config)
        self.sessions = await asyncio.gather(*(self.pool.open(f"s{k}", None, seed=k) for k in range(SESSIONS)))
        for session in self.sessions:
            result = await session.step(f"search[{session.result.info['task']}]")
            assert result.status == "ok", result.info
        metrics = await self.pool.metrics()
        return {
            "node": self.pool.node_id,
            "raylet": os.getppid(),
            "servers": metrics["servers"],
            "tasks": [session.result.info["task_id"] for session in self.sessions],
            "observations": [session.result.observation for session in self.sessions],
        }


def mappings(folder: Path) -> list[dict]:
    """What each process of this machine has mapped of a folder's files (proc(5): smaps)."""
    found, prefix = [], f" {folder}/"
    for process in Path("/proc").iterdir():
        try:
            # smaps costs the kernel a walk over the process's memory: only where there is something to see
            if not process.name.isdigit() or prefix not in (process / "maps").read_text():
                continue
            lines = (process / "smaps").read_text().splitlines()
            parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended, or is another user's
            continue
        for number, line in enumerate(lines):
            if prefix not in line:
                continue
            _, flags, _, _, inode, path = line.split(maxsplit=5)
            sizes = {}
            for detail in lines[number + 1 :]:
                if not detail.endswith("kB"):
                    break
                name, size = detail.removesuffix("kB").split(":")
                sizes[name] = int(size)
            found.append(
                {"pid": int(process.name), "parent": parent, "path": path, "inode": inode, "flags": flags, **sizes}
            )
    return found


def main() -> None:
    store = Path(sys.argv[1]).resolve()
    ray.init(log_to_driver=False)
    clients = [
        ray.remote(Client)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote()
        for node in ray.nodes()
    ]
    opened = ray.get([client.open.remote(str(store)) for client in clients])
    print(json.dumps({"nodes_alive": nodes_alive(), "clients": opened, "mappings": mappings(store)}))


if __name__ == "__main__":
    main()
