# SPDX-License-Identifier: Apache-2.0
"""The pipeline's agent loop: verl's tool agent, rewarded by its tools."""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop

from siri_verl.core.segments import runs
from siri_verl.rollout.session import SiriSession
from siri_verl.trajectory.decoding import decode_reply


class PostRoomLoop(ToolAgentLoop):
    """Returns one row per trajectory: the whole conversation."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Play one delivery."""
        siri, plain = SiriSession.from_run(self.config, kwargs), kwargs["raw_prompt"]
        # so that a run on the light server repeats
        sampling_params = {**sampling_params, "seed": siri.request_seed(0)}
        output = await super().run(sampling_params, **{**kwargs, "raw_prompt": siri.messages(plain)})
        rewards = output.extra_fields["tool_rewards"]
        output.reward_score = sum(rewards)
        output.extra_fields["reward_extra_info"] = {"acc": output.reward_score}
        # GiGPO: what each turn saw and got
        turns = runs(output.response_mask)
        replies = [decode_reply(self.tokenizer, output.response_ids[a:b]) for a, b in turns]
        task = plain[-1]["content"]
        seen = [task, *output.extra_fields.get("answers", [])][: len(turns)]
        output.extra_fields["anchors"] = seen
        output.extra_fields["turn_rewards"] = [*rewards, 0.0][: len(turns)]
        output.extra_fields["valids"] = [reply == "done" or "</tool_call>" in reply for reply in replies]
        # SIRI: what skills are mined from, and the prompt without the skill
        output.extra_fields["task"] = task
        output.extra_fields["transcript"] = list(zip(seen, replies, strict=True))
        if siri.skill_text is not None:
            output.extra_fields["plain_prompt_ids"] = await self.ct_build_initial_tokens(plain, tools=self.tool_schemas)
        return output

    async def _call_tool(self, tool_call: Any, tools_kwargs: dict[str, Any], agent_data: Any) -> tuple:
        """Keep the answer, also the one to a call that verl refuses."""
        response, *rest = await super()._call_tool(tool_call, tools_kwargs, agent_data)
        agent_data.extra_fields.setdefault("answers", []).append(response.text)
        return response, *rest
