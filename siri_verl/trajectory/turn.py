# SPDX-License-Identifier: Apache-2.0
"""A trajectory and its turns, whoever plays it: a training rollout, a validation, an evaluation, a demo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from siri_verl.core.pairing import PLAIN


class Status(str, Enum):  # noqa: UP042  StrEnum needs Python 3.11
    """Why an episode ended."""

    TERMINATED = "terminated"
    """The environment ended it."""
    TRUNCATED = "truncated"
    """The turn limit was reached."""
    PROMPT_TOO_LONG = "prompt_too_long"
    """The next prompt does not fit, even without history."""
    ENVIRONMENT_LOST = "environment_lost"
    """The environment's process died or hung."""
    ENVIRONMENT_ERROR = "environment_error"
    """The environment raised."""
    NOT_STARTED = "not_started"
    """No turn was played: the environment could not start the task, or its first prompt does not fit."""

    @staticmethod
    def counts(status: str) -> bool:
        """Whether trajectories with this status, a `Status` or another agent loop's own word, enter losses and
        statistics. Those whose environment failed do not: the policy did not cause their end."""
        return status not in (Status.ENVIRONMENT_LOST, Status.ENVIRONMENT_ERROR, Status.NOT_STARTED)

    @staticmethod
    def task_failed(status: str) -> bool:
        """Whether this end is the task's own: playing it again would end so again."""
        return status in (Status.ENVIRONMENT_ERROR, Status.NOT_STARTED)


@dataclass(frozen=True)
class TurnView:
    """What the agent sees at one turn.

    Attributes:
        task: the task text.
        observation: the current observation.
        admissible_actions: in display order.
        turn: 1-based number of this turn.
        history: earlier (observation, action) pairs, oldest first.
        skill_text: the skill block, or None for the plain prompt.
    """

    task: str
    observation: str
    admissible_actions: tuple[str, ...] = ()
    turn: int = 1
    history: tuple[tuple[str, str], ...] = ()
    skill_text: str | None = None

    @property
    def plain(self) -> TurnView:
        """The same turn without the skill."""
        return replace(self, skill_text=None)

    def recent(self, length: int) -> TurnView:
        """The same turn with the last `length` pairs of its history."""
        return replace(self, history=self.history[-length:] if length else ())


@dataclass(frozen=True)
class Reply:
    """A model's reply, and how it was asked for.

    Attributes:
        text: what the model wrote.
        prompt_tokens, reply_tokens: counts; None where they are unknown (some endpoints do not report them).
        skill_missing: a skill block was to be shown and did not fit into the prompt.
        history_dropped: history pairs left out because the prompt would have been too long.
        opening: what of the reply stands in the prompt: "<think>", "<think></think>" or "".
    """

    text: str
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    skill_missing: bool = False
    history_dropped: int = 0
    opening: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn that was played.

    Attributes:
        observation: the state before acting, without history or instructions.
        reply: everything the model wrote.
        action: what the environment was given, "" for a malformed reply.
        reward: of this turn: the training reward in a training run, else the environment's native reward; None where
            it is unknown.
        valid: the reply was well formed.
        problem: why it was not, None where it was or where the reason is unknown.
        admissible: the action did something.
        prompt_tokens, reply_tokens: counts; None where they are unknown.
        history_dropped: history pairs left out because the prompt would have been too long.
    """

    observation: str
    reply: str
    action: str
    reward: float | None = None
    valid: bool = True
    problem: str | None = None
    admissible: bool = True
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    history_dropped: int = 0


@dataclass(frozen=True)
class Trajectory:
    """One attempt at a task.

    Attributes:
        source: `training`, `validation` or `evaluation`.
        step: training step; None outside a run.
        task_id, task: the task and its text.
        turns: in order.
        success: the task was solved.
        score: the environment's native score.
        category: the environment's name for the kind of task, "" if it has none.
        task_type: read from the task text (`siri.task_type`); "" where it was not read.
        session: number of the attempt among those at the same task and step; of an evaluation, the repetition.
        trial: 1; more where a session tries again after a failure (Reflexion).
        env_seed: what the environment was reset with, None where it is unknown.
        arm: `plain` or `skill`.
        skill_id, skill_text: the skill shown, "" in the plain arm.
        skill_missing: in some turn the skill block did not fit into the prompt.
        status: why it ended, a `Status` or another agent loop's own word.
        final_observation: the state after the last turn, "" where it was not kept.
        explanation: why the score is what it is, in the environment's words; "" where it gives none.
    """

    source: str
    step: int | None
    task_id: str
    task: str
    turns: tuple[Turn, ...]
    success: bool
    score: float | None = None
    category: str = ""
    task_type: str = ""
    session: int = 0
    trial: int = 1
    env_seed: int | None = None
    arm: str = PLAIN
    skill_id: str = ""
    skill_text: str = ""
    skill_missing: bool = False
    status: str = ""
    final_observation: str = ""
    explanation: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What identifies it: of two with one key, the later replaces the earlier."""
        return self.source, self.step, self.task_id, self.arm, self.session, self.trial

    @property
    def history(self) -> list[tuple[str, str]]:
        """(observation, action) of every turn."""
        return [(turn.observation, turn.action) for turn in self.turns]


@dataclass(frozen=True)
class Reflection:
    """What a model wrote about a failed trial (Reflexion), as later trials see it.

    Attributes:
        task_id, session, trial: the trial.
        text: the reflection.
        prompt_tokens, reply_tokens: counts; None where they are unknown.
    """

    task_id: str
    session: int
    trial: int
    text: str
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
