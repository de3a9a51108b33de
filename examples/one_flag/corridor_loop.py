# SPDX-License-Identifier: Apache-2.0
"""An agent loop of one's own: it plays the corridor and returns one row per turn.

The three marked lines are all that GiGPO asks of a loop; verl's own estimators run without them.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from corridor import DOOR, move, prompt
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput


class CorridorLoop(AgentLoopBase):
    """Plays one walk."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        """Play from the place and for the turns that the dataset names; the reward is 1 at the door."""
        place, turns = int(kwargs["extra_info"]["start"]), int(kwargs["extra_info"]["turns"])
        rows, name = [], uuid4().hex
        while len(rows) < turns and place != DOOR:
            prompt_ids = await self.ct_build_initial_tokens(prompt(place))
            reply = await self.server_manager.generate(
                request_id=name, prompt_ids=prompt_ids, sampling_params=sampling_params
            )
            after, understood = move(place, self.tokenizer.decode(reply.token_ids, skip_special_tokens=True))
            row = AgentLoopOutput(
                prompt_ids=prompt_ids,
                response_ids=reply.token_ids,
                response_mask=[1] * len(reply.token_ids),
                response_logprobs=reply.log_probs,
                num_turns=2,
                metrics=AgentLoopMetrics(),
                extra_fields=dict(reply.extra_fields),
            )
            row.extra_fields["anchor"] = f"place {place}"
            row.extra_fields["turn_reward"] = float(after == DOOR)
            row.extra_fields["valid"] = understood
            rows.append(row)
            place = after
        for row in rows:
            row.reward_score = float(place == DOOR)
            row.extra_fields["reward_extra_info"] = {"acc": float(place == DOOR)}
        return rows
