# SPDX-License-Identifier: Apache-2.0
"""Makes the light server misbehave. Imported by every process of a run through VERL_USE_EXTERNAL_MODULES; the
environment variable SIRI_ROLLOUT_FAULT says how: `fail`, `garbage`, `silent`, `late` or `empty`."""

import asyncio
import os

from siri_verl.light.server import LightServer

KIND, EVERY = os.environ.get("SIRI_ROLLOUT_FAULT", ""), 7
_plain, _asked = LightServer.generate, 0


async def _generate(self, *args, **kwargs):
    global _asked
    _asked += 1
    reply = await _plain(self, *args, **kwargs)
    if _asked % EVERY:
        return reply
    if KIND == "fail":
        raise RuntimeError("injected failure")
    if KIND == "silent":
        await asyncio.sleep(3600)
    if KIND == "late":
        await asyncio.sleep(3)
    if KIND == "garbage":
        reply.token_ids = ["\x1b[31m", None]
    if KIND == "empty":
        reply.token_ids, reply.log_probs = [], []
    return reply


if KIND:
    LightServer.generate = _generate
