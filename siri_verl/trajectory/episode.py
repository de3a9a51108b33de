# SPDX-License-Identifier: Apache-2.0
"""An episode in play, without any I/O: whoever drives it asks the model and steps the environment.

    episode = Episode(plan, *env.reset(seed=plan.env_seed, options={"task_id": plan.task_id}), max_turns=15)
    while not episode.over:
        action = episode.reply(ask_the_model(episode.view()))
        episode.observe(*env.step(action))

The drivers: the agent loop (asyncio), `siri_verl.evaluation.episodes.EpisodePlayer` (futures), the demos (plain calls).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from siri_verl.core.pairing import PLAIN, SKILL
from siri_verl.envs.replies import ActionRules, parse_reply
from siri_verl.trajectory.turn import Reply, Status, Trajectory, Turn, TurnView


@dataclass(frozen=True)
class EpisodePlan:
    """An episode to be played.

    Attributes:
        task_id: the task.
        env_seed: seeds the environment's reset; None leaves it unseeded.
        name: of the episode; with run seed and turn it seeds the requests (`siri_verl.trajectory.seeds`).
        skill_text: the skill block of its prompts, None for the plain prompt.
        skill_id: id of that skill, "" without.
        memory: reflections on earlier attempts at the task (Reflexion); prompts without a place for them ignore them.
    """

    task_id: str
    env_seed: int | None = None
    name: tuple[object, ...] = ()
    skill_text: str | None = None
    skill_id: str = ""
    memory: tuple[str, ...] = ()


class Episode:
    """One attempt at a task.

    Args:
        plan: what is played.
        observation: of the environment's reset.
        info: of the environment's reset.
        max_turns: turns after which the episode is truncated; None: only the environment ends it.

    Attributes:
        task: the task text.
        rules: how the environment wants actions to be read.
        turns: those played so far.
        observation, info: the environment's last answer.
        status: why it ended, None while it is running.
        reason: the error that ended it, "" where none did.
        skill_missing: in some turn the skill block did not fit into the prompt.
    """

    def __init__(self, plan: EpisodePlan, observation: str, info: Mapping[str, Any], max_turns: int | None = None):
        self.plan, self.observation, self.info, self.max_turns = plan, observation, info, max_turns
        self.task = str(info["task"])
        self.rules = ActionRules.of(info)
        self.turns: list[Turn] = []
        self.status: Status | None = None
        self.reason = ""
        self.skill_missing = False
        self._asked: tuple[Reply, bool, str | None, str] | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status is not None

    @property
    def success(self) -> bool:
        """Whether the task is solved."""
        return bool(self.info.get("success", False))

    @property
    def score(self) -> float:
        """The environment's native score."""
        return float(self.info.get("score", 0.0))

    @property
    def category(self) -> str:
        """The environment's name for the kind of task, "" if it has none."""
        return str(self.info.get("category", ""))

    @property
    def explanation(self) -> str:
        """Why the score is what it is, in the environment's words; "" where it gives none."""
        return str(self.info.get("explanation", ""))

    @property
    def history(self) -> list[tuple[str, str]]:
        """(observation, action) of every turn."""
        return [(turn.observation, turn.action) for turn in self.turns]

    def view(self) -> TurnView:
        """The next turn, with all earlier ones as its history."""
        return TurnView(
            task=self.task,
            observation=self.observation,
            admissible_actions=tuple(self.info["admissible_actions"]),
            turn=len(self.turns) + 1,
            history=tuple(self.history),
            skill_text=self.plan.skill_text,
        )

    def reply(self, reply: Reply, action: str | None = None) -> str:
        """Take a reply to the next turn's prompt.

        Args:
            reply: the model's.
            action: what is played in place of the reply's own action.

        Returns:
            The action for the environment.
        """
        parsed = parse_reply(reply.opening + reply.text, self.rules)
        action = parsed.action if action is None else action
        self._asked = reply, parsed.valid, parsed.problem, action
        self.skill_missing |= reply.skill_missing
        return action

    def observe(
        self,
        observation: str,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, Any],
        status: str = "ok",
    ) -> None:
        """Take the environment's answer to the last action; completes the turn.

        Args:
            observation: as `gymnasium.Env.step` returns it, like the next four.
            reward: of this turn.
            terminated: the task is decided.
            truncated: the environment's limit is reached.
            info: facts about the new state.
            status: "ok", or the `Status` of an environment that failed.

        Raises:
            RuntimeError: no reply awaits an answer.
        """
        if self._asked is None:
            raise RuntimeError(f"task {self.plan.task_id!r}: observe() without a reply(); call reply() first")
        (reply, valid, problem, action), self._asked = self._asked, None
        self.turns.append(
            Turn(
                observation=self.observation,
                reply=reply.text,
                action=action,
                reward=float(reward),
                valid=valid,
                problem=problem,
                admissible=bool(info.get("action_admissible", False)),
                prompt_tokens=reply.prompt_tokens,
                reply_tokens=reply.reply_tokens,
                history_dropped=reply.history_dropped,
            )
        )
        self.observation, self.info = observation, info
        if status != "ok":
            self.status, self.reason = Status(status), str(info.get("reason", ""))
        elif terminated:
            self.status = Status.TERMINATED
        elif truncated or len(self.turns) == self.max_turns:
            self.status = Status.TRUNCATED

    def prompt_too_long(self, error: Exception) -> None:
        """End the episode: its next prompt does not fit. Without a turn it has not started and does not count."""
        self.status = Status.PROMPT_TOO_LONG if self.turns else Status.NOT_STARTED
        self.reason = str(error)

    def trajectory(self, source: str, step: int | None = None, **facts: Any) -> Trajectory:
        """The finished episode as a record.

        Args:
            source: see `Trajectory`.
            step: see `Trajectory`.
            facts: further fields of `Trajectory` that the episode does not know: session, trial, task_type.
        """
        return Trajectory(
            source=source,
            step=step,
            task_id=self.plan.task_id,
            task=self.task,
            turns=tuple(self.turns),
            success=self.success,
            score=self.score,
            category=self.category,
            env_seed=self.plan.env_seed,
            arm=PLAIN if self.plan.skill_text is None else SKILL,
            skill_id=self.plan.skill_id,
            skill_text=self.plan.skill_text or "",
            skill_missing=self.skill_missing,
            status="" if self.status is None else self.status.value,
            final_observation=self.observation,
            explanation=self.explanation,
            **facts,
        )
