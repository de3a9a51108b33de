# SPDX-License-Identifier: Apache-2.0
"""verl's agent-loop worker and manager, with what environment episodes need.

Select it with
`+actor_rollout_ref.rollout.agent.agent_loop_manager_class=siri_verl.rollout.worker.SiriAgentLoopManager` (the siri
configuration groups do). verl's own worker knows whether a batch is validation and does not pass it to the loop; this
one does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import ray
from tensordict import TensorDict
from verl.trainer.ppo.v1 import agent_loop_tq
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ

import siri_verl.rollout.agent_loop  # noqa: F401  registers the loop
from siri_verl.core.pairing import PLAIN, SKILL
from siri_verl.core.phases import WARM_UP
from siri_verl.failures import ConfigError
from siri_verl.rollout.complete_rows import complete_rows
from siri_verl.rollout.grouped_puts import GroupedPuts
from siri_verl.rollout.task_columns import (
    EXPLORED_SESSIONS,
    PLAIN_SESSIONS,
    SKILL_ID,
    SKILL_TEXT,
    TEACHER_SKILL_TEXT,
    TEMPERATURE,
    add_columns,
)
from siri_verl.settings.read import siri_settings
from siri_verl.skills.skill import Skill

# AgentLoopWorkerTQ is already a Ray actor class; a subclass needs the class it wraps.
_PlainWorker = AgentLoopWorkerTQ.__ray_metadata__.modified_class


class SiriAgentLoopWorker(_PlainWorker):
    """Rolls out paired groups: the sessions of a task are dealt to a plain and a skill arm and run side by side.

    The driver sets per task which skill, if any, is shown and how many sessions stay plain (columns `skill_id`,
    `skill_text`, `plain_sessions`); without these columns, and in validation, every session is plain.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # In this worker's process alone.
        self._puts = GroupedPuts(agent_loop_tq.tq, agent_loop_tq.list_of_dict_to_tensordict)
        agent_loop_tq.tq, agent_loop_tq.list_of_dict_to_tensordict = self._puts, list

    async def _run_agent_loop(self, sampling_params: dict[str, Any], trajectory: dict[str, Any], **kwargs: Any):
        shown = str(kwargs.pop(SKILL_ID, "")), str(kwargs.pop(SKILL_TEXT, ""))
        plain_sessions = int(kwargs.pop(PLAIN_SESSIONS, 0))
        explored, temperature = int(kwargs.pop(EXPLORED_SESSIONS, 0)), kwargs.pop(TEMPERATURE, None)
        if explored and kwargs["session_id"] < explored:
            sampling_params = {**sampling_params, "temperature": float(temperature)}
        validate = bool(trajectory["validate"])
        in_skill_arm = bool(shown[0]) and kwargs["session_id"] >= plain_sessions
        skill_id, skill_text = shown if in_skill_arm else ("", "")
        if shown[0] and not in_skill_arm and self._scores_plain_turns:
            kwargs[TEACHER_SKILL_TEXT] = shown[1]
        partition = "val" if validate else "train"
        async with self._puts.session(str(kwargs["uid"]), partition):
            return await super()._run_agent_loop(
                sampling_params,
                trajectory,
                partition=partition,
                arm=SKILL if in_skill_arm else PLAIN,
                skill_id=skill_id,
                skill_text=skill_text,
                **kwargs,
            )

    @cached_property
    def _scores_plain_turns(self) -> bool:
        return siri_settings(self.config).internalization.rows != "skill_on_plain"

    @cached_property
    def _success_reward(self) -> float:
        return siri_settings(self.config).reward.success_reward

    async def _agent_loop_postprocess(self, output: Any, validate: bool, **kwargs: Any) -> None:
        """Complete the loop's rows, then store them as verl does."""
        outputs = output if isinstance(output, list) else [output]
        if outputs:
            # The reward function sees the trajectory as the loop returned it, before it is cut into turns.
            await self._compute_score(outputs, kwargs=kwargs)
            outputs = complete_rows(outputs, kwargs, self.tokenizer, self._success_reward)
        await super()._agent_loop_postprocess(outputs, validate, **kwargs)


class SiriAgentLoopManager(AgentLoopManagerTQ):
    """verl's manager over `SiriAgentLoopWorker` actors."""

    validation_skills: Callable[[list[str]], list[Skill | None]] | None = None
    """Set by the trainer for the control that keeps skills in validation prompts: task ids -> the skill of each."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        check_trainer_mode(self.config)
        self.agent_loop_workers_class = ray.remote(SiriAgentLoopWorker)

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Dispatch a batch of tasks to the workers (verl/trainer/ppo/v1/agent_loop_tq.py)."""
        if "validate" in prompts and self.validation_skills is not None:
            add_columns(prompts, self.validation_skills([str(task) for task in prompts["task_id"]]), plain_sessions=0)
        super().generate_sequences(prompts)


def check_trainer_mode(config: Any) -> None:
    """verl's own trainer modes support SIRI's environments and GiGPO, but not its phases.

    Raises:
        ConfigError: the mode is verl's and the settings ask for more than the first phase.
    """
    mode = config.trainer.v1.trainer_mode
    if mode in ("sync", "colocate_async", "separate_async") and siri_settings(config).phases.fixed != WARM_UP:
        raise ConfigError(
            f"trainer.v1.trainer_mode={mode!r}: skills need complete groups of one policy in a step, which only "
            "trainer.v1.trainer_mode=siri provides; for GiGPO without skills in this mode set "
            "siri.phases.fixed=warm_up"
        )
