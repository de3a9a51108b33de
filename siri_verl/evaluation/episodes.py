# SPDX-License-Identifier: Apache-2.0
"""Many episodes at once without a trainer: an agent that answers, environments in this process.

Every episode continues as soon as its own reply arrives, so the model's batch stays full. An episode depends only on
its plan: the environment seed, and one request seed per turn (siri_verl/trajectory/seeds.py).
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.prompt_builder import PromptTooLongError
from siri_verl.trajectory.seeds import request_seed
from siri_verl.trajectory.turn import Reply


class Agent(Protocol):
    """What plays: a model and a way to prompt it."""

    def ask(self, episode: Episode, name: str, seed: int) -> Future[Reply]:
        """Ask for the next turn's reply.

        Args:
            episode: in play; not to be changed.
            name: of the request.
            seed: of its sampling.

        Returns:
            The reply; or, as the future's exception, PromptTooLongError where no prompt fits.
        """


class EpisodePlayer:
    """Plays plans.

    Args:
        agent: answers.
        make_env: makes an environment; environments are used again when their episode is over.
        max_turns: turns after which an episode is truncated.
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
        self, plans: Sequence[EpisodePlan], on_end: Callable[[Episode], None] = lambda episode: None
    ) -> list[Episode]:
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
        finished: dict[int, Episode] = {}
        running: dict[int, tuple[Episode, Any]] = {}
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
            plan, env = plans[number], idle.pop()
            observation, info = env.reset(seed=plan.env_seed, options={"task_id": plan.task_id})
            episode = Episode(plan, observation, info, self.max_turns)
            running[number] = episode, env
            self._ask(episode, number, replies)

        try:
            for _ in range(self.concurrent):
                start_next()
            while running:
                number, future = replies.get()
                episode, env = running[number]
                try:
                    episode.observe(*env.step(episode.reply(future.result())))
                except PromptTooLongError as error:
                    episode.prompt_too_long(error)
                if not episode.over:
                    self._ask(episode, number, replies)
                else:
                    del running[number]
                    finished[number] = episode
                    idle.append(env)
                    on_end(episode)
                    start_next()
        finally:
            for env in made:
                env.close()
        return [finished[number] for number in range(len(plans))]

    def _ask(self, episode: Episode, number: int, replies: queue.SimpleQueue) -> None:
        """Send the request of the next turn."""
        name, turn = episode.plan.name, len(episode.turns) + 1
        future = self.agent.ask(episode, "-".join(map(str, (*name, turn))), request_seed(self.seed, name, turn))
        future.add_done_callback(lambda done: replies.put((number, done)))
