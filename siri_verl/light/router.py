# SPDX-License-Identifier: Apache-2.0
"""Which light server gets a request: the one the session used before, else the one with the fewest requests.

verl's own router does the same in a process that first imports all of verl; this one starts immediately. Ties go to the
first server, so that a run repeats. verl finds it through ``rollout.router_config_path``
(siri_verl/conf/light_router.yaml); the methods are those of verl's RequestLoadBalancer
(verl/workers/rollout/router.py).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

REMEMBERED_SESSIONS = 10_000


class LightRouter:
    """Args:
    servers: server id -> actor handle.
    config: the content of the YAML file; nothing in it matters here.
    """

    def __init__(self, servers: dict[str, Any], config: dict[str, Any] | None = None):
        self._servers = dict(servers)
        self._inflight = dict.fromkeys(servers, 0)
        self._sessions: OrderedDict[str, str] = OrderedDict()

    def acquire_server(self, request_id: str) -> tuple[str, Any]:
        """Server id and handle for a request.

        Raises:
            RuntimeError: no servers are left; the words are those verl's clients look for.
        """
        if not self._servers:
            raise RuntimeError("No available servers in load balancer")
        server_id = self._sessions.get(request_id)
        if server_id not in self._servers:
            server_id = min(self._inflight, key=self._inflight.__getitem__)
            self._sessions[request_id] = server_id
            if len(self._sessions) > REMEMBERED_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(request_id)
        self._inflight[server_id] += 1
        return server_id, self._servers[server_id]

    def release_server(self, server_id: str, request_id: str | None = None) -> None:
        """A request is done."""
        if self._inflight.get(server_id, 0) > 0:
            self._inflight[server_id] -= 1

    def require_acquire_fields(self) -> list[str]:
        """The request's id is enough."""
        return []

    def require_release_fields(self) -> list[str]:
        """The server's id is enough."""
        return []

    def add_servers(self, servers: dict[str, Any]) -> None:
        """Servers join."""
        for server_id, handle in servers.items():
            self._servers[server_id] = handle
            self._inflight[server_id] = 0

    def remove_servers(self, server_ids: list[str]) -> None:
        """Servers leave; their sessions move on."""
        for server_id in server_ids:
            self._servers.pop(server_id, None)
            self._inflight.pop(server_id, None)

    def get_all_servers(self) -> list[str]:
        """Ids of the servers."""
        return list(self._servers)

    def get_inflight_count(self, server_id: str) -> int:
        """Requests a server has."""
        return self._inflight.get(server_id, 0)

    def get_total_inflight(self) -> int:
        """Requests all servers have."""
        return sum(self._inflight.values())

    def get_status(self) -> dict[str, Any]:
        """For debugging."""
        return {
            "servers": dict(self._inflight),
            "total_inflight": self.get_total_inflight(),
            "active_servers": len(self._servers),
        }

    def clear_sticky_cache(self) -> dict[str, Any]:
        """Forget which session used which server."""
        cleared = len(self._sessions)
        self._sessions.clear()
        return {"cleared_entries": cleared, "server_loads": dict(self._inflight)}
