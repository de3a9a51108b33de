# SPDX-License-Identifier: Apache-2.0
"""Many episodes at once without a trainer: an agent that answers, environments in this process.

Every episode continues as soon as its own reply arrives, so the model's batch stays full. An episode depends only on
its plan: the environment seed, and one request seed per turn (siri_verl/trajectory/seeds.py).
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

from siri_verl.endpoint import RequestRefusedError
from siri_verl.envs.base import RAISED
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.failed_tasks import LIMIT, FailedTasks
from siri_verl.trajectory.prompt_builder import PromptTooLongError
from siri_verl.trajectory.seeds import request_seed
from siri_verl.trajectory.turn import Reply, Status


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
        failed: counts tasks that cannot be played; None: a count of its own.
        concurrent: episodes in play at a time.
    """

    def __init__(
        self,
        agent: Agent,
        make_env: Callable[[], Any],
        *,
        max_turns: int,
        seed: int,
        failed: FailedTasks | None = None,
        concurrent: int = 256,
    ):
        for name, value in (("max_turns", max_turns), ("concurrent", concurrent)):
            if value < 1:
                raise ValueError(f"episodes: {name}={value}; use at least 1")
        self.agent, self.make_env = agent, make_env
        self.max_turns, self.seed, self.concurrent = max_turns, seed, concurrent
        self.failed = FailedTasks(LIMIT, "max_failed_task_share") if failed is None else failed

    def play(
        self, plans: Sequence[EpisodePlan], on_end: Callable[[Episode], None] = lambda episode: None
    ) -> list[Episode | None]:
        """Play every plan once.

        Args:
            plans: in any number; their names are distinct.
            on_end: called after each episode that was played.

        Returns:
            The episodes, in the order of the plans; None for those of tasks that cannot be played (`failed`).

        Raises:
            ValueError: two plans share a name.
            FailedTasksError: too many tasks cannot be played.
            Exception: whatever the agent raises, or making an environment.
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
            """Start the next episode that can be started."""
            for number in waiting:
                if not idle:
                    made.append(self.make_env())
                    idle.append(made[-1])
                plan, env = plans[number], idle.pop()
                try:
                    observation, info = env.reset(seed=plan.env_seed, options={"task_id": plan.task_id})
                    episode = Episode(plan, observation, info, self.max_turns)
                except RAISED as error:
                    discard(env)
                    self.failed.failed(plan.task_id, error)
                    continue
                self.failed.tried(plan.task_id)
                running[number] = episode, env
                self._ask(episode, number, replies)
                return

        def discard(env: Any) -> None:
            """An environment that raised is not used again."""
            made.remove(env)
            with suppress(*RAISED):
                env.close()

        def take(episode: Episode, env: Any, future: Future[Reply]) -> bool:
            """Play the turn that a reply completes; False where the environment raised or the request was refused."""
            try:
                reply = future.result()
            except PromptTooLongError as error:
                episode.prompt_too_long(error)
                return True
            except RequestRefusedError as error:
                idle.append(env)
                self.failed.failed(episode.plan.task_id, error)
                return False
            action = episode.reply(reply)
            try:
                answer = env.step(action)
            except RAISED as error:
                discard(env)
                self.failed.failed(episode.plan.task_id, error)
                return False
            episode.observe(*answer)
            return True

        try:
            for _ in range(self.concurrent):
                start_next()
            while running:
                number, future = replies.get()
                episode, env = running[number]
                usable = take(episode, env, future)
                if usable and not episode.over:
                    self._ask(episode, number, replies)
                    continue
                del running[number]
                if usable:
                    idle.append(env)
                    if episode.status is Status.NOT_STARTED:
                        self.failed.failed(episode.plan.task_id, episode.reason)
                    else:
                        finished[number] = episode
                        on_end(episode)
                start_next()
        finally:
            for env in made:
                env.close()
        return [finished.get(number) for number in range(len(plans))]

    def _ask(self, episode: Episode, number: int, replies: queue.SimpleQueue) -> None:
        """Send the request of the next turn."""
        name, turn = episode.plan.name, len(episode.turns) + 1
        future = self.agent.ask(episode, "-".join(map(str, (*name, turn))), request_seed(self.seed, name, turn))
        future.add_done_callback(lambda done: replies.put((number, done)))
