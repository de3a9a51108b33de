# SPDX-License-Identifier: Apache-2.0
"""One episode, turn by turn: prompt -> policy server -> action -> environment server; one row per turn.

verl instantiates a loop per trajectory and calls `run` with the dataset's columns
(verl/experimental/agent_loop/agent_loop.py). The loop returns a list: verl stores each item as a row
`{uid}_{session}_{turn}`. Loops of one worker overlap; nothing here blocks. The loop states what only it knows;
`siri_verl.rollout.complete_rows` adds the rest, as for all agent loops.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register
from verl.utils.profiler import simple_timer

from siri_verl.envs.base import UnknownTaskError
from siri_verl.envs.servers.pool import EnvironmentSession, StepResult
from siri_verl.rollout.environments import environment_pool
from siri_verl.rollout.not_started import not_started_row
from siri_verl.rollout.policy_request import ask_policy, tokens_of_row
from siri_verl.rollout.row_contract import SKILL_PROMPT
from siri_verl.rollout.session import SiriSession
from siri_verl.rollout.task_columns import TEACHER_SKILL_TEXT
from siri_verl.settings.read import siri_settings
from siri_verl.settings.schema import RewardSettings, SiriSettings
from siri_verl.trajectory.decoding import decode_reply
from siri_verl.trajectory.episode import Episode
from siri_verl.trajectory.prompt_builder import BuiltPrompt, PromptBuilder, PromptTooLongError
from siri_verl.trajectory.turn import Reply, TurnView

logger = logging.getLogger(__name__)

AGENT_NAME = "siri_env"


def _builder_is_used(record: logging.LogRecord) -> bool:
    """verl warns once per loop that no builder is known for the model type None, which this loop gives on purpose."""
    return not (str(record.msg).startswith("No model-specific Continuous Token builder") and record.args[0] is None)


logging.getLogger("verl.utils.tokenizer.continuous_token_wiring").addFilter(_builder_is_used)

_read: dict[int, tuple[DictConfig, SiriSettings]] = {}
"""Settings by the identity of the configuration: reading takes a tenth of a second, and a worker makes all its loops
with one configuration."""


def settings_of(config: DictConfig) -> SiriSettings:
    """The run's settings, read once per configuration."""
    if id(config) not in _read:
        _read[id(config)] = config, siri_settings(config)
    return _read[id(config)][1]


@dataclass(frozen=True)
class TurnTokens:
    """The tokens of one turn, beside what `Episode` knows of it.

    Attributes:
        prompt: as the policy server saw it.
        plain_prompt_ids: the same turn's prompt without the skill; None where no skill is shown.
        skill_prompt_ids: of a plain turn, its prompt with the group's skill; None where that is not asked for, or too
            long.
        output: the policy server's answer (verl's TokenOutput).
        anchor: the state before acting.
        metrics: seconds of generation and environment.
    """

    prompt: BuiltPrompt
    plain_prompt_ids: list[int] | None
    skill_prompt_ids: list[int] | None
    output: Any
    anchor: str
    metrics: AgentLoopMetrics


def training_reward(settings: RewardSettings, result: StepResult) -> float:
    """The training reward of one step, from the environment's native result."""
    if settings.kind == "success":
        return settings.success_reward if result.info.get("success") else 0.0
    return settings.success_reward * result.reward


@register(AGENT_NAME)
class EnvAgentLoop(AgentLoopBase):
    """The loop for text environments. Needs the worker of `siri_verl.rollout.worker`."""

    def __init__(self, *args: Any, **kwargs: Any):
        # Every turn is a prompt of its own, so verl's model-specific joining of turns is not needed; for known model
        # types it also makes demands on the tokenizer.
        super().__init__(*args, **{**kwargs, "hf_model_type": None})
        self.settings = settings_of(self.config)
        self.prompts = PromptBuilder(
            self.tokenizer, self.settings.prompt, self.rollout_config.prompt_length, self.apply_chat_template_kwargs
        )

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        """Play one episode.

        Args:
            sampling_params: temperature, top_p and so on; the same for every turn.
            kwargs: dataset columns (`task_id`, ...) and `uid`, `session_id`, `global_steps`, `partition`, `arm`,
                `skill_id`, `skill_text` (the last two "" in the plain arm), and `teacher_skill_text` where plain turns
                are scored under the group's skill.

        Returns:
            One output per turn, in order. Where no turn can be played, one that does not count.

        Raises:
            RuntimeError: the worker is verl's own.
        """
        if "partition" not in kwargs:
            raise RuntimeError(
                f"agent loop {AGENT_NAME!r}: the worker does not state whether this is validation; set "
                "actor_rollout_ref.rollout.agent.agent_loop_manager_class=siri_verl.rollout.worker.SiriAgentLoopManager"
            )
        siri = SiriSession.from_run(self.config, kwargs)
        pool = await environment_pool(self.settings.environment)
        split, node = str(kwargs.get("split") or ""), pool.node_id
        try:
            session = await pool.open(f"{kwargs['uid']}_{siri.session}", siri.task_id, siri.env_seed)
        except UnknownTaskError as error:
            return self._not_started(siri, f"unknown task: {error}", sampling_params, split, node)
        async with session as env:
            start = env.result
            if start.ended:
                return self._not_started(siri, str(start.info.get("reason", "")), sampling_params, split, node)
            episode = Episode(siri.plan, start.observation, start.info, self.settings.rollout.max_turns)
            tokens = await self._play(episode, env, siri, sampling_params, kwargs.get(TEACHER_SKILL_TEXT))
        if not tokens:
            return self._not_started(siri, episode.reason, sampling_params, split, node)
        return self._rows(episode, tokens, split=split, node=node)

    def _not_started(
        self, siri: SiriSession, reason: str, sampling_params: dict[str, Any], split: str, node: str
    ) -> list[AgentLoopOutput]:
        logger.warning("task %s: no turn could be played: %s", siri.task_id, reason)
        last = (reason.strip().splitlines() or [""])[-1]
        logprobs = bool(sampling_params.get("logprobs"))
        return [not_started_row(siri, last, self.prompts, logprobs=logprobs, split=split, node=node)]

    async def _play(
        self,
        episode: Episode,
        env: EnvironmentSession,
        siri: SiriSession,
        sampling_params: dict[str, Any],
        teacher_skill: str | None,
    ) -> list[TurnTokens]:
        request_id, tokens = "-".join(map(str, siri.plan.name)), []
        while not episode.over:
            view = episode.view()
            try:
                prompt = self.prompts.build_with_skill(view)
            except PromptTooLongError as error:
                episode.prompt_too_long(error)
                break
            params = dict(sampling_params)
            if self.settings.rollout.request_seeds:
                params["seed"] = siri.request_seed(view.turn)
            timing: dict[str, float] = {}
            with simple_timer("generate_sequences", timing):
                output = await ask_policy(
                    *(self.server_manager, request_id, prompt.token_ids, params),
                    timeout=self.settings.rollout.request_timeout,
                )
            text = decode_reply(self.tokenizer, output.token_ids)
            counts = len(prompt.token_ids), len(output.token_ids)
            shown = prompt.skill_missing, prompt.history_dropped, self.prompts.opening
            action = episode.reply(Reply(text, *counts, *shown))
            anchor = str(episode.info["anchor"])
            with simple_timer("tool_calls", timing):
                result: StepResult = await env.step(action)
            reward = training_reward(self.settings.reward, result)
            episode.observe(result.observation, reward, result.terminated, result.truncated, result.info, result.status)
            plain = None if prompt.view.skill_text is None else self.prompts.tokens(prompt.view.plain)
            with_skill = None if teacher_skill is None else self._shown(prompt.view, teacher_skill)
            preempted = -1 if output.num_preempted is None else output.num_preempted
            tokens.append(
                TurnTokens(
                    prompt, plain, with_skill, output, anchor, AgentLoopMetrics(**timing, num_preempted=preempted)
                )
            )
        return tokens

    def _shown(self, view: TurnView, skill_text: str) -> list[int] | None:
        """A plain turn's prompt with a skill; None where it is too long."""
        ids = self.prompts.tokens(replace(view, skill_text=skill_text))
        return ids if len(ids) <= self.prompts.max_prompt_length else None

    def _rows(self, episode: Episode, tokens: list[TurnTokens], *, split: str, node: str) -> list[AgentLoopOutput]:
        turns, end = episode.turns, self.tokenizer.eos_token_id
        replies = [
            tokens_of_row(t.output, self.rollout_config.response_length, t.prompt.token_ids[-1] if end is None else end)
            for t in tokens
        ]
        status = episode.status.value if episode.status else ""
        of_episode = {
            "task": episode.task,
            "category": episode.category,
            "status": status,
            "reason": (episode.reason.strip().splitlines() or [""])[-1],
            "success": episode.success,
            "score": episode.score,
            "node": node,
            "transcript": episode.history,
            "final_observation": episode.observation,
            "explanation": episode.explanation,
            "reward_extra_info": {"category": episode.category, "split": split, "status": status},
        }
        return [
            AgentLoopOutput(
                prompt_ids=of_turn.prompt.token_ids,
                response_ids=ids,
                response_mask=mask,
                response_logprobs=log_probs,
                reward_score=sum(t.reward or 0.0 for t in turns),
                num_turns=len(turns),
                metrics=of_turn.metrics,
                extra_fields={
                    "server": "",
                    **of_turn.output.extra_fields,
                    **of_episode,
                    "anchor": of_turn.anchor,
                    "turn_reward": turn.reward,
                    "valid": turn.valid,
                    "admissible": turn.admissible,
                    "history_dropped": turn.history_dropped,
                    "skill_missing": of_turn.prompt.skill_missing,
                    "plain_prompt_ids": of_turn.plain_prompt_ids,
                    **({} if of_turn.skill_prompt_ids is None else {SKILL_PROMPT: of_turn.skill_prompt_ids}),
                },
            )
            for turn, of_turn, (ids, mask, log_probs) in zip(turns, tokens, replies, strict=True)
        ]
