# SPDX-License-Identifier: Apache-2.0
"""Many episodes at once without a trainer: an agent that answers, environments in this process.

Every episode goes on as soon as its own reply is there, so the model's batch stays full. What an episode meets
depends on its plan alone: environment seed, and one request seed per turn derived from the run seed and the plan's
name.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from siri_verl.core.seeding import derive_seed
from siri_verl.trajectory.prompt_builder import PromptTooLongError
from siri_verl.trajectory.prompts import TurnView, parse_reply

TERMINATED, TRUNCATED, PROMPT_TOO_LONG = "terminated", "truncated", "prompt_too_long"


@dataclass(frozen=True)
class EpisodePlan:
    """An episode to be played.

    Attributes:
        task_id: the task.
        env_seed: seeds the environment's reset.
        name: of the episode; names its requests and, with turn and run seed, seeds them.
        skill: the skill block of its prompts, None for the plain prompt.
        memory: what earlier attempts at the task taught (Reflexion); only agents that have a place for it show it.
    """

    task_id: str
    env_seed: int
    name: tuple[object, ...]
    skill: str | None = None
    memory: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A reply, and how it was asked for.

    Attributes:
        text: what the model wrote.
        prompt_tokens, reply_tokens: counts; None where an endpoint does not say.
        skill_shown: the prompt had the plan's skill block.
        history_dropped: earlier turns left out because the prompt would have been too long.
    """

    text: str
    prompt_tokens: int | None
    reply_tokens: int | None
    skill_shown: bool
    history_dropped: int = 0


@dataclass(frozen=True)
class PlayedTurn:
    """One turn.

    Attributes:
        answer: the model's.
        problem: why the reply is malformed, None when it is well-formed.
        admissible: whether the action did something.
    """

    answer: Answer
    problem: str | None
    admissible: bool


@dataclass
class PlayedEpisode:
    """What became of a plan.

    Attributes:
        plan: the plan.
        task: the task text.
        category: the environment's name for the kind of task, "" if it has none.
        turns: (observation, action) in order.
        details: of each turn, beside observation and action.
        valid_turns: turns whose reply was well-formed.
        success: whether the task was solved.
        score: the environment's native score.
        status: `terminated`, `truncated` or `prompt_too_long`.
        skill_missing: in some turn the skill block did not fit into the prompt and was left out.
    """

    plan: EpisodePlan
    task: str = ""
    category: str = ""
    turns: list[tuple[str, str]] = field(default_factory=list)
    details: list[PlayedTurn] = field(default_factory=list)
    valid_turns: int = 0
    success: bool = False
    score: float = 0.0
    status: str = TRUNCATED
    skill_missing: bool = False
    final_observation: str = ""
    """What the environment said last."""


class Agent(Protocol):
    """What plays: a model and a way to prompt it."""

    def ask(self, view: TurnView, episode: PlayedEpisode, name: str, seed: int) -> Future[Answer]:
        """Ask for a turn's reply.

        Args:
            view: the turn, with all earlier turns as history.
            episode: what was played so far; not to be changed.
            name: of the request.
            seed: of its sampling.

        Returns:
            The answer; or, as the future's exception, PromptTooLongError where no prompt fits.
        """


class _Running:
    """An episode in play: its environment and the turn that awaits a reply."""

    def __init__(self, plan: EpisodePlan, env: Any):
        self.env, self.episode = env, PlayedEpisode(plan)
        self.observation, self.info = env.reset(seed=plan.env_seed, options={"task_id": plan.task_id})
        self.episode.task = str(self.info["task"])
        self.over = False

    def view(self) -> TurnView:
        turns = self.episode.turns
        return TurnView(
            task=self.episode.task,
            observation=self.observation,
            admissible_actions=tuple(self.info["admissible_actions"]),
            turn=len(turns) + 1,
            skill=self.episode.plan.skill,
            history=tuple(turns),
        )

    def act(self, answer: Answer) -> None:
        parsed = parse_reply(answer.text)
        before, episode = self.observation, self.episode
        self.observation, _, terminated, truncated, self.info = self.env.step(parsed.action)
        episode.turns.append((before, parsed.action))
        admissible = bool(self.info.get("action_admissible", False))
        episode.details.append(PlayedTurn(answer, parsed.problem, admissible))
        episode.valid_turns += parsed.valid
        episode.skill_missing |= episode.plan.skill is not None and not answer.skill_shown
        if terminated or truncated:
            self.end(TERMINATED if terminated else TRUNCATED)

    def end(self, status: str) -> None:
        episode, info = self.episode, self.info
        episode.status, self.over = status, True
        episode.success, episode.score = bool(info.get("success", False)), float(info.get("score", 0.0))
        episode.category, episode.final_observation = str(info.get("category", "")), self.observation


class EpisodePlayer:
    """Plays plans.

    Args:
        agent: answers.
        make_env: makes an environment; environments are used again when their episode is over.
        max_turns: turns after which an episode is cut.
        seed: the seed that request seeds derive from.
        concurrent: episodes in play at a time.
    """

    def __init__(
        self,
        agent: Agent,
        make_env: Callable[[], Any],
        *,
        max_turns: int,
        seed: int,
        concurrent: int = 256,
    ):
        for name, value in (("max_turns", max_turns), ("concurrent", concurrent)):
            if value < 1:
                raise ValueError(f"episodes: {name}={value}; use at least 1")
        self.agent, self.make_env = agent, make_env
        self.max_turns, self.seed, self.concurrent = max_turns, seed, concurrent

    def play(
        self, plans: Sequence[EpisodePlan], on_end: Callable[[PlayedEpisode], None] = lambda episode: None
    ) -> list[PlayedEpisode]:
        """Play every plan once.

        Args:
            plans: in any number; their names are distinct.
            on_end: called after each episode.

        Returns:
            The episodes, in the order of the plans.

        Raises:
            ValueError: two plans share a name.
            PromptTooLongError: the first prompt of an episode does not fit even without its skill.
            Exception: whatever an environment or the agent raises.
        """
        if len({plan.name for plan in plans}) != len(plans):
            raise ValueError("episodes: two plans share a name, and with it all random choices; name them apart")
        finished: dict[int, PlayedEpisode] = {}
        running: dict[int, _Running] = {}
        replies: queue.SimpleQueue[tuple[int, Future]] = queue.SimpleQueue()
        idle: list[Any] = []
        made: list[Any] = []
        waiting = iter(range(len(plans)))

        def start_next() -> None:
            number = next(waiting, None)
            if number is None:
                return
            if not idle:
                made.append(self.make_env())
                idle.append(made[-1])
            running[number] = _Running(plans[number], idle.pop())
            self._ask(running[number], number, replies)

        try:
            for _ in range(self.concurrent):
                start_next()
            while running:
                number, future = replies.get()
                current = running[number]
                self._take_in(current, future)
                if not current.over and len(current.episode.turns) >= self.max_turns:
                    current.end(TRUNCATED)
                if not current.over:
                    self._ask(current, number, replies)
                else:
                    del running[number]
                    finished[number] = current.episode
                    idle.append(current.env)
                    on_end(current.episode)
                    start_next()
        finally:
            for env in made:
                env.close()
        return [finished[number] for number in range(len(plans))]

    def _take_in(self, current: _Running, future: Future[Answer]) -> None:
        """Carry out an answer; an episode whose prompt no longer fits is over."""
        try:
            answer = future.result()
        except PromptTooLongError:
            if not current.episode.turns:
                raise
            current.end(PROMPT_TOO_LONG)
            return
        current.act(answer)

    def _ask(self, current: _Running, number: int, replies: queue.SimpleQueue) -> None:
        """Send the request of the next turn."""
        plan, turn = current.episode.plan, len(current.episode.turns) + 1
        name = "-".join(map(str, (*plan.name, turn)))
        seed = derive_seed(self.seed, "request", *plan.name, turn)
        future = self.agent.ask(current.view(), current.episode, name, seed)
        future.add_done_callback(lambda f: replies.put((number, f)))
