# SPDX-License-Identifier: Apache-2.0
"""What an agent loop is given for one session: arm, skill and seeds (docs/your_agent_loop.md).

    siri = SiriSession.from_run(self.config, kwargs)
    messages = siri.messages(kwargs["raw_prompt"])      # with the skill block in the skill arm, as they are otherwise

Under verl's own workers, which know nothing of skills, every session is plain, so a loop that uses this runs unchanged
in verl's own trainer modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from siri_verl.core.pairing import PLAIN
from siri_verl.trajectory import seeds
from siri_verl.trajectory.episode import EpisodePlan
from siri_verl.trajectory.prompts import FULL


@dataclass(frozen=True)
class SiriSession:
    """One session of one task.

    Attributes:
        task_id: the task (dataset column `task_id`; else the row's index).
        session: number of the session within its task.
        step: the trainer's step.
        validate: whether this is validation, which is always plain.
        arm: "plain" or "skill".
        skill_id: id of the skill shown, "" in the plain arm.
        skill_text: the skill block, None in the plain arm.
        run_seed: `siri.seed`.
    """

    task_id: str
    session: int
    step: int
    validate: bool
    arm: str
    skill_id: str
    skill_text: str | None
    run_seed: int

    @classmethod
    def from_run(cls, config: DictConfig, kwargs: Mapping[str, Any]) -> SiriSession:
        """From what verl's worker hands to `run`.

        Args:
            config: the run's whole config (`self.config` of an agent loop).
            kwargs: of `AgentLoopBase.run`.
        """
        return cls(
            task_id=str(kwargs.get("task_id", kwargs.get("index", ""))),
            session=int(kwargs.get("session_id", 0)),
            step=int(kwargs.get("global_steps", 0)),
            validate=kwargs.get("partition", "train") == "val",
            arm=str(kwargs.get("arm", PLAIN)),
            skill_id=str(kwargs.get("skill_id", "")),
            skill_text=str(kwargs.get("skill_text", "")) or None,
            run_seed=int(OmegaConf.select(config, "siri.seed", default=0)),
        )

    def messages(self, plain: Sequence[Mapping[str, Any]], label: str = str(FULL.skill)) -> list[dict[str, Any]]:
        """The messages with the skill block in front of the first user message; unchanged in the plain arm.

        Args:
            plain: chat messages of the plain prompt.
            label: what stands before the block.

        Raises:
            ValueError: a skill is to be shown and there is no user message.
        """
        copied = [dict(message) for message in plain]
        if self.skill_text is None:
            return copied
        block = f"{label}: {self.skill_text}\n\n"
        for message in copied:
            if message.get("role") == "user":
                content = message["content"]
                if isinstance(content, str):
                    message["content"] = block + content
                else:
                    message["content"] = [{"type": "text", "text": block}, *content]
                return copied
        raise ValueError(f"task {self.task_id!r}: no user message to show skill {self.skill_id} in")

    @property
    def env_seed(self) -> int:
        """Seed of the environment: the same for all sessions of a training task, so that both arms meet the same
        environment; another for every session of validation."""
        if self.validate:
            return seeds.validation_env_seed(self.run_seed, self.task_id, self.session)
        return seeds.env_seed(self.run_seed, self.step, self.task_id)

    def request_seed(self, turn: int) -> int:
        """Seed of one generation request (`sampling_params["seed"]`), for runs that repeat exactly."""
        return seeds.request_seed(self.run_seed, self.plan.name, turn)

    @property
    def plan(self) -> EpisodePlan:
        """The session as an episode to be played."""
        name = ("val" if self.validate else "train", self.step, self.task_id, self.arm, self.session)
        return EpisodePlan(self.task_id, self.env_seed, name, self.skill_text, self.skill_id)
