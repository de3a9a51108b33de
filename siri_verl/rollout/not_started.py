# SPDX-License-Identifier: Apache-2.0
"""The row of a session in which no turn was played, so that its group is complete and the run goes on.

verl stops a group, and with it the run, where a session returns nothing. This row has status `not_started`: it enters
no loss and no statistic, and its group has no treatment effect (`siri_verl.trajectory.turn.Status.counts`).
"""

from __future__ import annotations

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

from siri_verl.rollout.session import SiriSession
from siri_verl.trajectory.prompt_builder import PromptBuilder, chat_tokens
from siri_verl.trajectory.turn import Status


def not_started_row(
    siri: SiriSession, reason: str, prompts: PromptBuilder, *, logprobs: bool, split: str, node: str
) -> AgentLoopOutput:
    """The row.

    Args:
        siri: the session.
        reason: why no turn was played.
        prompts: of the run; the prompt is the task's id, since its text may be unknown.
        logprobs: whether the other rows of the batch have log-probs.
        split: of the task, for results.
        node: Ray node of the environment server.
    """
    message = {"role": "user", "content": prompts.clean(siri.task_id)}
    prompt = chat_tokens(prompts.tokenizer, [message], prompts.chat_template_kwargs)[: prompts.max_prompt_length]
    end = prompts.tokenizer.eos_token_id
    status, version = Status.NOT_STARTED.value, siri.step - 1
    return AgentLoopOutput(
        prompt_ids=prompt,
        response_ids=[prompt[-1] if end is None else end],
        response_mask=[0],
        response_logprobs=[0.0] if logprobs else None,
        reward_score=0.0,
        num_turns=1,
        metrics=AgentLoopMetrics(),
        extra_fields={
            "server": "",
            # Steps of the weights that played it; verl's metrics read both from every row.
            "min_global_steps": version,
            "max_global_steps": version,
            "task": "",
            "category": "",
            "status": status,
            "reason": reason,
            "success": False,
            "score": 0.0,
            "node": node,
            "transcript": [],
            "final_observation": "",
            "explanation": "",
            "reward_extra_info": {"category": "", "split": split, "status": status},
            "anchor": "",
            "turn_reward": 0.0,
            "valid": False,
            "admissible": False,
            "history_dropped": 0,
            "skill_missing": False,
            "plain_prompt_ids": prompt if siri.skill_text is not None else None,
        },
    )
