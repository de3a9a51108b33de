# SPDX-License-Identifier: Apache-2.0
"""One episode, turn by turn: prompt -> policy server -> action -> environment server; one row per turn.

verl instantiates a loop per trajectory and calls `run` with the dataset's columns
(verl/experimental/agent_loop/agent_loop.py). The loop returns a list: verl stores each item as a row
`{uid}_{session}_{turn}`. Loops of one worker overlap; nothing here blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from omegaconf import DictConfig
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register
from verl.utils.profiler import simple_timer

from siri_verl.core.seeding import derive_seed
from siri_verl.envs.servers.pool import EnvironmentSession, StepResult
from siri_verl.rollout.environments import environment_pool
from siri_verl.settings.read import siri_settings
from siri_verl.settings.schema import RewardSettings, SiriSettings
from siri_verl.training.step_table import EXCLUDED_STATUSES
from siri_verl.trajectory.action_span import action_span
from siri_verl.trajectory.prompt_builder import BuiltPrompt, PromptBuilder, PromptTooLongError
from siri_verl.trajectory.prompts import TurnView, parse_reply

AGENT_NAME = "siri_env"
# Why an episode stopped; beside these the environment server's own "environment_lost" and "environment_error".
TERMINATED, TRUNCATED, PROMPT_TOO_LONG = "terminated", "truncated", "prompt_too_long"


@dataclass
class Turn:
    """What one turn leaves behind: enough to make its row."""

    prompt: BuiltPrompt
    anchor: str
    response_ids: list[int]
    log_probs: list[float] | None
    valid: bool
    admissible: bool
    reward: float
    server_fields: dict[str, Any]
    metrics: AgentLoopMetrics
    action: str
    action_span: tuple[int, int]
    skill_shown: bool
    plain_prompt_ids: list[int] | None


@dataclass
class Episode:
    """A finished episode."""

    turns: list[Turn] = field(default_factory=list)
    status: str = TRUNCATED
    success: bool = False
    score: float = 0.0
    category: str = ""
    task: str = ""

    @property
    def transcript(self) -> list[tuple[str, str]]:
        """(observation, action) of every turn."""
        return [(turn.prompt.view.observation, turn.action) for turn in self.turns]


def training_reward(config: RewardSettings, result: StepResult) -> float:
    """The training reward of one step, from the environment's native result."""
    if config.kind == "success":
        return config.success_reward if result.info.get("success") else 0.0
    return config.success_reward * result.reward


def stop_reason(result: StepResult) -> str:
    """Why an ended episode stopped."""
    if result.status != "ok":
        return result.status
    return TERMINATED if result.terminated else TRUNCATED


@register(AGENT_NAME)
class EnvAgentLoop(AgentLoopBase):
    """The loop for text environments. Needs the worker of `siri_verl.rollout.worker`, which says whether this is
    validation."""

    _known: ClassVar[tuple[DictConfig, SiriSettings] | None] = None

    def __init__(self, *args: Any, **kwargs: Any):
        # Every turn is a prompt of its own, so verl's model-specific joining of turns is not needed; for known model
        # types it also makes demands on the tokenizer.
        super().__init__(*args, **{**kwargs, "hf_model_type": None})
        self.settings = self._settings(self.config)
        self.prompts = PromptBuilder(
            self.tokenizer, self.settings.prompt, self.rollout_config.prompt_length, self.apply_chat_template_kwargs
        )

    @staticmethod
    def _settings(config: DictConfig) -> SiriSettings:
        """The run's settings, read once per config: verl makes a loop for every trajectory."""
        known = EnvAgentLoop._known
        if known is None or known[0] is not config:
            known = EnvAgentLoop._known = config, siri_settings(config)
        return known[1]

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        """Play one episode.

        Args:
            sampling_params: temperature, top_p and so on; the same for every turn.
            kwargs: dataset columns (`task_id`, ...) and `uid`, `session_id`, `global_steps`, `partition`, `arm`,
                `skill_id`, `skill_text` (the last two "" in the plain arm).

        Returns:
            One output per turn, in order.
        """
        task_id, session, step = str(kwargs["task_id"]), int(kwargs["session_id"]), int(kwargs["global_steps"])
        validate = kwargs["partition"] == "val"
        arm, skill = str(kwargs["arm"]), str(kwargs["skill_text"]) or None
        seed = self.settings.seed
        # All sessions of a training task meet the same environment; validation repeats the same episodes at every step.
        env_seed = (
            derive_seed(seed, "env", "val", task_id, session) if validate else derive_seed(seed, "env", step, task_id)
        )
        names = ("val" if validate else "train", step, task_id, arm, session)
        pool = await environment_pool(self.settings.environment)
        async with await pool.open(f"{kwargs['uid']}_{session}", task_id, env_seed) as env:
            if env.result.ended:
                raise RuntimeError(
                    f"task {task_id!r}: no episode could be started ({env.result.status}): "
                    f"{env.result.info.get('reason', '')}"
                )
            episode = await self._play(env, sampling_params, names, skill)
        skill_id, split = str(kwargs["skill_id"]), str(kwargs.get("split") or "")
        return self._rows(episode, task_id=task_id, split=split, arm=arm, skill_id=skill_id, node=pool.node_id)

    async def _play(
        self, env: EnvironmentSession, sampling_params: dict[str, Any], names: tuple, skill: str | None
    ) -> Episode:
        settings, result = self.settings, env.result
        episode = Episode(task=str(result.info["task"]))
        history: list[tuple[str, str]] = []
        request_id = "-".join(map(str, names))
        for turn in range(1, settings.rollout.max_turns + 1):
            info = result.info
            view = TurnView(
                task=str(info["task"]),
                observation=result.observation,
                admissible_actions=tuple(info["admissible_actions"]),
                turn=turn,
                skill=skill,
                history=tuple(history[-settings.prompt.history_length :]) if settings.prompt.history_length else (),
            )
            try:
                prompt = self.prompts.build_with_skill(view)
            except PromptTooLongError:
                if not episode.turns:
                    raise
                episode.status = PROMPT_TOO_LONG
                break
            params = dict(sampling_params)
            if settings.rollout.request_seeds:
                params["seed"] = derive_seed(settings.seed, "request", *names, turn)
            timing: dict[str, float] = {}
            with simple_timer("generate_sequences", timing):
                output = await self.server_manager.generate(
                    request_id=request_id, prompt_ids=prompt.token_ids, sampling_params=params
                )
            reply = parse_reply(self.tokenizer.decode(output.token_ids, skip_special_tokens=True))
            with simple_timer("tool_calls", timing):
                after: StepResult = await env.step(reply.action)
            episode.turns.append(
                Turn(
                    prompt=prompt,
                    anchor=str(info["anchor"]),
                    response_ids=list(output.token_ids),
                    log_probs=list(output.log_probs) if output.log_probs else None,
                    valid=reply.valid,
                    admissible=bool(after.info.get("action_admissible", False)),
                    reward=training_reward(settings.reward, after),
                    server_fields=dict(output.extra_fields),
                    metrics=AgentLoopMetrics(**timing, num_preempted=_number(output.num_preempted)),
                    action=reply.action,
                    action_span=action_span(self.tokenizer, output.token_ids) if reply.valid else (0, 0),
                    skill_shown=prompt.view.skill is not None,
                    plain_prompt_ids=None if prompt.view.skill is None else self.prompts.tokens(prompt.view.plain),
                )
            )
            history.append((result.observation, reply.action))
            result = after
            if after.ended:
                episode.status = stop_reason(after)
                break
        episode.success = bool(result.info.get("success", False))
        episode.score = float(result.info.get("score", 0.0))
        episode.category = str(result.info.get("category", ""))
        return episode

    def _rows(
        self, episode: Episode, *, task_id: str, split: str, arm: str, skill_id: str, node: str
    ) -> list[AgentLoopOutput]:
        turns = episode.turns
        limit = self.rollout_config.response_length
        # An episode that lost its environment teaches nothing: none of its tokens enters a loss.
        counts = 0 if episode.status in EXCLUDED_STATUSES else 1
        of_episode = {
            "task_id": task_id,
            "category": episode.category,
            "arm": arm,
            "skill_id": skill_id,
            "skill_missing": bool(skill_id) and not all(turn.skill_shown for turn in turns),
            "status": episode.status,
            "success": episode.success,
            "score": episode.score,
            "task": episode.task,
            "node": node,
        }
        reward_extra_info = {
            "acc": float(episode.success),
            "success": float(episode.success),
            "score": episode.score,
            "turns": float(len(turns)),
            "valid_share": sum(t.valid for t in turns) / len(turns),
            "category": episode.category,
            "split": split,
            "status": episode.status,
        }
        return [
            AgentLoopOutput(
                prompt_ids=turn.prompt.token_ids,
                response_ids=turn.response_ids[:limit],
                response_mask=[counts] * len(turn.response_ids[:limit]),
                response_logprobs=turn.log_probs[:limit] if turn.log_probs is not None else None,
                reward_score=sum(t.reward for t in turns),
                num_turns=len(turns),
                metrics=turn.metrics,
                extra_fields={
                    "server": "",
                    **turn.server_fields,
                    **of_episode,
                    "reward_extra_info": reward_extra_info,
                    "anchor": turn.anchor,
                    "turn_reward": turn.reward,
                    "valid": turn.valid,
                    "admissible": turn.admissible,
                    "history_dropped": turn.prompt.history_dropped,
                    "span_start": turn.action_span[0],
                    "span_end": turn.action_span[1],
                    "plain_prompt_ids": turn.plain_prompt_ids,
                    "transcript": episode.transcript if turn is turns[-1] else None,
                },
            )
            for turn in turns
        ]


def _number(value: int | None) -> int:
    return -1 if value is None else value
