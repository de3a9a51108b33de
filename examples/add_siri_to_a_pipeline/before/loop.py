# SPDX-License-Identifier: Apache-2.0
"""The pipeline's agent loop: verl's tool agent, rewarded by its tools."""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop


class PostRoomLoop(ToolAgentLoop):
    """Returns one row per trajectory: the whole conversation."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Play one delivery."""
        output = await super().run(sampling_params, **kwargs)
        rewards = output.extra_fields["tool_rewards"]
        output.reward_score = sum(rewards)
        output.extra_fields["reward_extra_info"] = {"acc": output.reward_score}
        return output
