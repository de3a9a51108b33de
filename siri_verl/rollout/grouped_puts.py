# SPDX-License-Identifier: Apache-2.0
"""Store the rows of a group in one call.

verl's worker stores each trajectory by a call of its own as soon as it ends
(verl/trainer/ppo/v1/agent_loop_tq.py, `_agent_loop_postprocess`). A call costs tens of milliseconds of CPU whatever
it holds, and nothing reads a group before verl states that all of its sessions have ended. So the rows of a group are
collected, and stored when its last session has ended, just before that statement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any


class GroupedPuts:
    """Takes the place of the queue module in verl's worker; every other call passes through.

    Args:
        queue: the module.
        to_fields: verl's list_of_dict_to_tensordict.
    """

    def __init__(self, queue: Any, to_fields: Callable[[list[dict[str, Any]]], Any]):
        self._queue = queue
        self._to_fields = to_fields
        self._running: Counter[str] = Counter()
        self._rows: defaultdict[tuple[str, str], list[tuple[str, dict, dict]]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def async_kv_batch_put(
        self, *, keys: Sequence[str], fields: Sequence[dict], tags: Sequence[dict], partition_id: str
    ) -> None:
        """Keep the rows of one trajectory. Keys are `{uid}_{session}_{turn}`."""
        uid = keys[0].rsplit("_", 2)[0]
        self._rows[uid, partition_id].extend(zip(keys, fields, tags, strict=True))

    @asynccontextmanager
    async def session(self, uid: str, partition_id: str) -> AsyncIterator[None]:
        """Around a session of a group; the last one to end stores the group's rows, also where sessions failed."""
        self._running[uid] += 1
        try:
            yield
        finally:
            self._running[uid] -= 1
            if not self._running[uid]:
                del self._running[uid]
                rows = self._rows.pop((uid, partition_id), [])
                if rows:
                    keys, fields, tags = (list(column) for column in zip(*rows, strict=True))
                    await self._queue.async_kv_batch_put(
                        keys=keys, fields=self._to_fields(fields), tags=tags, partition_id=partition_id
                    )
